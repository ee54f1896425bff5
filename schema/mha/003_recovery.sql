-- Backups of the store, newest last; the newest hundred are kept.
CREATE TABLE backup (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,                             -- ms since 1970
  node TEXT NOT NULL,
  path TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  result TEXT NOT NULL CHECK (result IN ('ok', 'failed')),
  reason TEXT NOT NULL DEFAULT ''
) STRICT;

-- Where counting goes on after a restore or a recovery: hosts that survived may have seen higher numbers than the data has.
-- Names: voter_set, epoch:GROUP.
CREATE TABLE number_floor (
  name TEXT PRIMARY KEY,
  number INTEGER NOT NULL
) STRICT;
