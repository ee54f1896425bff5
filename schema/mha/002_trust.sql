-- Trust and membership. Tables whose names begin with secret_ are read by the control process only: the front end refuses them to
-- everybody else, in every statement.
CREATE TABLE secret_ca (
  id INTEGER PRIMARY KEY,
  cert TEXT NOT NULL,                              -- PEM
  key TEXT NOT NULL,                               -- PEM; '' with certificates of the operator's own
  created_at INTEGER NOT NULL                      -- ms since 1970
) STRICT;

-- One-time invitations. The secret itself is never stored.
CREATE TABLE secret_join (
  id TEXT PRIMARY KEY,
  node TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('data', 'arbiter')),
  secret_hash TEXT NOT NULL,                       -- SHA-256, hexadecimal
  expires_at INTEGER NOT NULL,
  used_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE certificate (
  serial TEXT PRIMARY KEY,                         -- hexadecimal, lower case
  kind TEXT NOT NULL CHECK (kind IN ('node', 'admin')),
  name TEXT NOT NULL,
  issued_at INTEGER NOT NULL,
  not_after INTEGER NOT NULL,                      -- ms since 1970
  revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Everybody who was invited, takes part, or took part. The table node lists those that the Raft group has taken in.
CREATE TABLE roster (
  name TEXT PRIMARY KEY,
  address TEXT NOT NULL,
  peer_port INTEGER NOT NULL,
  raft_port INTEGER NOT NULL,
  sql_port INTEGER NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('data', 'arbiter')),
  failure_domain TEXT NOT NULL DEFAULT '',
  leaving_at INTEGER NOT NULL DEFAULT 0,           -- removal was asked: its roles are being moved away
  removed_at INTEGER NOT NULL DEFAULT 0            -- it was a member: refused from then on
) STRICT;

CREATE TABLE roster_number (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  number INTEGER NOT NULL
) STRICT;
INSERT INTO roster_number (id, number) VALUES (1, 0);

-- Policies of the whole cluster, as text; a missing row means the default.
CREATE TABLE policy (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
