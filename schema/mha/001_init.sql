-- The cluster's own database. Written by the controller only, each decision in one transaction that checks the generation.
CREATE TABLE cluster (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  name TEXT NOT NULL,
  uuid TEXT NOT NULL,
  profile TEXT NOT NULL CHECK (profile IN ('fast', 'default', 'relaxed')),
  created_at INTEGER NOT NULL                      -- ms since 1970
) STRICT;

-- Success of generation = generation + 1 proves a usable leader; only the newest generation may decide.
CREATE TABLE controller (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL,
  node TEXT NOT NULL,
  since INTEGER NOT NULL
) STRICT;
INSERT INTO controller (id, generation, node, since) VALUES (1, 0, '', 0);

-- A decision's transaction writes its conditions here first: a false one violates the CHECK and nothing of it is applied.
CREATE TABLE decision_guard (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  ok INTEGER NOT NULL CHECK (ok = 1)
) STRICT;

CREATE TABLE node (
  name TEXT PRIMARY KEY,
  raft_id TEXT NOT NULL UNIQUE,                    -- unsigned 64 bit, decimal
  address TEXT NOT NULL,                           -- host
  raft_address TEXT NOT NULL UNIQUE,               -- host:port
  role TEXT NOT NULL CHECK (role IN ('voter', 'standby', 'arbiter')),
  maintenance INTEGER NOT NULL DEFAULT 0,
  joined_at INTEGER NOT NULL
) STRICT;

-- The sets whose majorities grant leases; only the newest row counts, changes are one node at a time.
CREATE TABLE voter_set (
  number INTEGER PRIMARY KEY,
  members TEXT NOT NULL,                           -- node names, comma separated
  committed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE db_group (
  name TEXT PRIMARY KEY,
  engine TEXT NOT NULL,
  state TEXT NOT NULL,
  epoch INTEGER NOT NULL,                          -- grows in the transaction that names a new primary_node
  step INTEGER NOT NULL,
  primary_node TEXT NOT NULL,                      -- '' none
  target_node TEXT NOT NULL DEFAULT '',
  sync_set TEXT NOT NULL DEFAULT '',               -- standbys that together hold every acknowledged commit; '' unknown
  durability TEXT NOT NULL CHECK (durability IN ('sync', 'async')),
  on_failure TEXT NOT NULL CHECK (on_failure IN ('failover', 'restart')),
  paused INTEGER NOT NULL DEFAULT 0,
  operation INTEGER NOT NULL DEFAULT 0,
  early INTEGER NOT NULL DEFAULT 0,                -- the new primary may be promoted before it holds the lease
  system_id TEXT NOT NULL DEFAULT '',
  rule INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE db_instance (
  group_name TEXT NOT NULL REFERENCES db_group (name),
  node TEXT NOT NULL,
  PRIMARY KEY (group_name, node)
) STRICT;

CREATE TABLE vip (
  address TEXT PRIMARY KEY,
  owner TEXT NOT NULL                              -- 'leader' or 'group:NAME'
) STRICT;

CREATE TABLE operation (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  group_name TEXT NOT NULL,
  kind TEXT NOT NULL,
  from_node TEXT NOT NULL,
  to_node TEXT NOT NULL,
  generation INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  phase TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL DEFAULT 0,
  result TEXT NOT NULL DEFAULT '',                 -- '' running, ok, failed
  reason TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  group_name TEXT NOT NULL DEFAULT '',
  epoch INTEGER NOT NULL DEFAULT 0,
  rule INTEGER NOT NULL DEFAULT 0,
  severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
  text TEXT NOT NULL
) STRICT;
