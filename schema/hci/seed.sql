-- A small appliance to play with: three hosts, two disks each, three networks, four virtual machines. See schema.sql for how to load it.

INSERT OR IGNORE INTO settings (name, value, description) VALUES
  ('cluster.name', 'demo', 'shown in the page title'),
  ('time.servers', '["10.77.0.1"]', 'JSON array of addresses'),
  ('alert.email', 'ops@example.com', 'who is told about failed disks'),
  ('vm.restart_delay_s', '30', 'how long a host may be silent before its virtual machines start elsewhere');

INSERT OR IGNORE INTO hosts (id, name, address, cpu_cores, memory_bytes) VALUES
  (1, 'n1', '10.77.0.11', 32, 274877906944),
  (2, 'n2', '10.77.0.12', 32, 274877906944),
  (3, 'n3', '10.77.0.13', 24, 137438953472);

INSERT OR IGNORE INTO disks (id, host_id, device, serial, tier, size_bytes) VALUES
  (1, 1, '/dev/nvme0n1', 'S4X0N101', 'nvme', 1920383410176),
  (2, 1, '/dev/sda', 'S4X0S101', 'ssd', 3840755982336),
  (3, 2, '/dev/nvme0n1', 'S4X0N201', 'nvme', 1920383410176),
  (4, 2, '/dev/sda', 'S4X0S201', 'ssd', 3840755982336),
  (5, 3, '/dev/nvme0n1', 'S4X0N301', 'nvme', 1920383410176),
  (6, 3, '/dev/sda', 'S4X0S301', 'ssd', 3840755982336);

INSERT OR IGNORE INTO networks (id, name, vlan, subnet, gateway, mtu, purpose) VALUES
  (1, 'management', NULL, '10.77.0.0/24', '10.77.0.1', 1500, 'management'),
  (2, 'storage', 77, '10.78.0.0/24', NULL, 9000, 'storage'),
  (3, 'tenant-a', 100, '192.168.100.0/24', '192.168.100.1', 1500, 'tenant');

INSERT OR IGNORE INTO vms (id, name, host_id, cpu_cores, memory_bytes, power, is_ha, labels) VALUES
  (1, 'web-1', 1, 4, 8589934592, 'on', 1, '{"role": "web"}'),
  (2, 'web-2', 2, 4, 8589934592, 'on', 1, '{"role": "web"}'),
  (3, 'db-1', 2, 8, 34359738368, 'on', 1, '{"role": "db", "backup": "daily"}'),
  (4, 'build-1', 3, 16, 17179869184, 'off', 0, '{}');

INSERT OR IGNORE INTO vm_interfaces (vm_id, position, network_id, mac, address) VALUES
  (1, 0, 3, '52:54:00:00:01:00', '192.168.100.11'),
  (2, 0, 3, '52:54:00:00:02:00', '192.168.100.12'),
  (3, 0, 3, '52:54:00:00:03:00', '192.168.100.21'),
  (4, 0, 3, '52:54:00:00:04:00', NULL);

INSERT OR IGNORE INTO volumes (id, name, vm_id, size_bytes, replicas, tier) VALUES
  (1, 'web-1-root', 1, 21474836480, 2, 'ssd'),
  (2, 'web-2-root', 2, 21474836480, 2, 'ssd'),
  (3, 'db-1-root', 3, 21474836480, 2, 'ssd'),
  (4, 'db-1-data', 3, 536870912000, 3, 'nvme'),
  (5, 'build-1-root', 4, 107374182400, 1, 'ssd');

INSERT OR IGNORE INTO volume_replicas (volume_id, disk_id) VALUES
  (1, 2), (1, 4), (2, 4), (2, 6), (3, 4), (3, 2), (4, 1), (4, 3), (4, 5), (5, 6);
