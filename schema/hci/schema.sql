-- An example of what an HCI appliance keeps in the store's `config` database: hosts, their disks, networks, virtual machines, volumes.
-- SQLite's dialect, STRICT tables, no triggers (psql would cut their bodies at the semicolons). Load it through the VIP:
--   psql -v ON_ERROR_STOP=1 -1 -f schema/hci/schema.sql -f schema/hci/seed.sql "host=VIP port=5433 dbname=config"
-- Sizes are bytes, times are ISO 8601 text in UTC. Loading it twice changes nothing.

CREATE TABLE IF NOT EXISTS settings (
  name        TEXT PRIMARY KEY,
  value       TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  updated_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE IF NOT EXISTS hosts (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  address      TEXT NOT NULL UNIQUE,
  cpu_cores    INTEGER NOT NULL CHECK (cpu_cores > 0),
  memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),
  state        TEXT NOT NULL DEFAULT 'online' CHECK (state IN ('online', 'maintenance', 'offline')),
  added_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE IF NOT EXISTS disks (
  id         INTEGER PRIMARY KEY,
  host_id    INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  device     TEXT NOT NULL,
  serial     TEXT NOT NULL UNIQUE,
  tier       TEXT NOT NULL CHECK (tier IN ('nvme', 'ssd', 'hdd')),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  health     TEXT NOT NULL DEFAULT 'ok' CHECK (health IN ('ok', 'degraded', 'failed')),
  UNIQUE (host_id, device)
) STRICT;

CREATE TABLE IF NOT EXISTS networks (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,
  vlan    INTEGER CHECK (vlan BETWEEN 1 AND 4094),
  subnet  TEXT NOT NULL,
  gateway TEXT,
  mtu     INTEGER NOT NULL DEFAULT 1500 CHECK (mtu BETWEEN 576 AND 9216),
  purpose TEXT NOT NULL CHECK (purpose IN ('management', 'storage', 'tenant'))
) STRICT;

CREATE TABLE IF NOT EXISTS vms (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  host_id      INTEGER REFERENCES hosts (id) ON DELETE SET NULL,
  cpu_cores    INTEGER NOT NULL CHECK (cpu_cores > 0),
  memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),
  power        TEXT NOT NULL DEFAULT 'off' CHECK (power IN ('on', 'off', 'paused')),
  is_ha        INTEGER NOT NULL DEFAULT 1 CHECK (is_ha IN (0, 1)),
  labels       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels))
) STRICT;

CREATE TABLE IF NOT EXISTS vm_interfaces (
  vm_id      INTEGER NOT NULL REFERENCES vms (id) ON DELETE CASCADE,
  position   INTEGER NOT NULL CHECK (position >= 0),
  network_id INTEGER NOT NULL REFERENCES networks (id),
  mac        TEXT NOT NULL UNIQUE,
  address    TEXT,
  PRIMARY KEY (vm_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS volumes (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  vm_id      INTEGER REFERENCES vms (id) ON DELETE SET NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  replicas   INTEGER NOT NULL DEFAULT 2 CHECK (replicas BETWEEN 1 AND 3),
  tier       TEXT NOT NULL DEFAULT 'ssd' CHECK (tier IN ('nvme', 'ssd', 'hdd')),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE IF NOT EXISTS volume_replicas (
  volume_id INTEGER NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
  disk_id   INTEGER NOT NULL REFERENCES disks (id),
  state     TEXT NOT NULL DEFAULT 'in_sync' CHECK (state IN ('in_sync', 'rebuilding', 'stale')),
  PRIMARY KEY (volume_id, disk_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS vms_by_host ON vms (host_id);
CREATE INDEX IF NOT EXISTS volumes_by_vm ON volumes (vm_id);
CREATE INDEX IF NOT EXISTS volume_replicas_by_disk ON volume_replicas (disk_id);

CREATE VIEW IF NOT EXISTS host_capacity AS
SELECT h.name,
       h.state,
       h.cpu_cores,
       (SELECT coalesce(sum(v.cpu_cores), 0) FROM vms v WHERE v.host_id = h.id AND v.power = 'on') AS cpu_cores_used,
       h.memory_bytes,
       (SELECT coalesce(sum(v.memory_bytes), 0) FROM vms v WHERE v.host_id = h.id AND v.power = 'on') AS memory_bytes_used,
       (SELECT coalesce(sum(d.size_bytes), 0) FROM disks d WHERE d.host_id = h.id AND d.health = 'ok') AS disk_bytes
FROM hosts h;
