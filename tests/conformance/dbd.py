"""One mha-dbd of a test: its configuration, its process, and the control side of its socket (core/base/dbd_msg.h)."""

import ctypes as c
import os
import select
import signal
import socket
import subprocess
import time

NAME, HOST, STANDBYS, PEERS_MAX, ADDRESS, VERSION = 40, 64, 8, 16, 48, 2
(LEASE, REPORT_NOW, CREATE, START, STOP, PROMOTE, FOLLOW, DETACH, SYNC_SET, CHECKPOINT, REWIND, REBUILD, REPLY, REPORT,
 PEERS) = range(1, 16)
FAST, IMMEDIATE = 1, 2
ABSENT, STOPPED, STARTING, RUNNING, STOPPING = range(5)
UNKNOWN, PRIMARY, REPLICA = range(3)
OK, INVAL, TIMEOUT, UNREACHABLE, REFUSED, NOTFOUND = 0, 1, 5, 6, 8, 9
REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Standby(c.Structure):
    _fields_ = [("name", c.c_char * NAME), ("flushed", c.c_uint64), ("is_streaming", c.c_uint8), ("is_sync", c.c_uint8),
                ("pad", c.c_uint8 * 6)]


class Report(c.Structure):
    _fields_ = [(n, c.c_uint8) for n in ("process", "role", "is_accepting", "is_receiving", "is_detached", "is_clean", "verb",
                                         "standby_count")] + [
        ("probe_age_ms", c.c_int32), ("received_age_ms", c.c_int32), ("timeline", c.c_uint32), ("verb_seconds", c.c_uint32),
        ("position", c.c_uint64), ("sync_since", c.c_uint64), ("epoch", c.c_uint64), ("promoted_epoch", c.c_uint64),
        ("system_id", c.c_char * NAME), ("upstream", c.c_char * NAME), ("sync_members", c.c_char * (STANDBYS * NAME)),
        ("standbys", Standby * STANDBYS), ("position_text", c.c_char * 64), ("last_error", c.c_char * 192)]

    def standby(self, name):
        return next((s for s in self.standbys[:self.standby_count] if s.name.decode() == name), None)

    def __str__(self):
        return " ".join("%s=%s" % (n, getattr(self, n)) for n, _ in self._fields_ if n != "standbys")


class Msg(c.Structure):
    _fields_ = [("version", c.c_uint16), ("type", c.c_uint16), ("seq", c.c_uint32), ("rc", c.c_int32), ("grace_ms", c.c_int32),
                ("generation", c.c_uint64), ("epoch", c.c_uint64), ("deadline_ns", c.c_int64), ("mode", c.c_uint16),
                ("peer_port", c.c_uint16), ("sync_count", c.c_uint16), ("peer_count", c.c_uint16), ("peer_node", c.c_char * NAME),
                ("peer_host", c.c_char * HOST), ("system_id", c.c_char * NAME), ("sync_members", c.c_char * (STANDBYS * NAME)),
                ("peers", c.c_char * ADDRESS * PEERS_MAX), ("text", c.c_char * 256), ("report", Report)]


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def ms_since(start):
    return (time.monotonic() - start) * 1000


def find_bin(name):
    folders = [os.environ.get("MHA_BIN", ""), REPO + "/build/release/bin", REPO + "/build/dev/bin"]
    return next((os.path.join(f, name) for f in folders if f and os.access(os.path.join(f, name), os.X_OK)), None)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of(pid):
    """{pid: command line} of the direct children."""
    found = {}
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(open("/proc/%s/stat" % entry).read().rsplit(")", 1)[1].split()[1]) == pid:
                found[int(entry)] = open("/proc/%s/cmdline" % entry).read().replace("\0", " ")
        except OSError:
            pass
    return found


class Dbd:
    """The instance of group "main" on node `name`; all nodes of a test live on 127.0.0.1."""

    def __init__(self, folder, name, engine, **instance):
        self.name, self.engine, self.dir, self.port = name, engine, os.path.join(folder, name), free_port()
        self.data = self.dir + "/data"
        self.proc = self.sock = None
        self.seq, self.epoch, self.replies, self.report = 0, 0, {}, None
        os.makedirs(self.dir, mode=0o755)
        self.instance = {"bin_dir": "/usr/lib/postgresql/15/bin"}
        self.instance.update(instance)
        self.write_config()

    def write_config(self):
        user = "      os_user: postgres\n" if os.geteuid() == 0 and self.engine == "postgresql" else ""
        settings = "      settings: [\"shared_buffers=16MB\", \"max_connections=30\"]\n" if self.engine == "postgresql" else ""
        with open(self.dir + "/node.yaml", "w") as f:
            f.write("cluster: test\nnode: %s\naddress: 127.0.0.1\nstate_dir: %s/state\nrun_dir: %s/run\n" % (self.name, self.dir, self.dir))
            f.write("tls: {mode: insecure-plaintext}\nnodes:\n" + "".join("  - {name: n%d, address: 127.0.0.1}\n" % i for i in (1, 2, 3)))
            f.write("instances:\n  - group: main\n      engine: %s\n      data_dir: %s\n      port: %d\n      bin_dir: %s\n%s%s"
                    "      hba: [\"host all all 127.0.0.1/32 trust\"]\n"
                    .replace("      engine", "    engine").replace("      data", "    data").replace("      port", "    port")
                    .replace("      bin", "    bin").replace("      hba", "    hba")
                    % (self.engine, self.data, self.port, self.instance["bin_dir"], user[2:], settings[2:]))

    def start(self):
        log = open(self.dir + "/mha-dbd.log", "ab")
        self.proc = subprocess.Popen([find_bin("mha-dbd"), "--config", self.dir + "/node.yaml", "--group", "main"], stderr=log, stdout=log)
        log.close()
        return self.connect()

    def connect(self):
        end = time.monotonic() + 20
        while True:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self.sock.connect(self.dir + "/run/dbd-main.sock")
                break
            except OSError:
                self.sock.close()
                assert time.monotonic() < end and self.proc.poll() is None, "mha-dbd does not listen:\n" + self.log()
                time.sleep(0.01)
        self.replies, self.report = {}, None
        self.wait(lambda r: True)
        return self

    def log(self):
        with open(self.dir + "/mha-dbd.log", errors="replace") as f:
            return f.read()

    def receive(self, seconds):
        """One packet, or None when none comes."""
        if not select.select([self.sock], [], [], max(seconds, 0))[0]:
            return None
        data = self.sock.recv(65536)
        assert len(data) == c.sizeof(Msg), "%d bytes came instead of a message (mha-dbd died?)\n%s" % (len(data), self.log())
        m = Msg.from_buffer_copy(data)
        self.report = m.report
        if m.type == REPLY:
            self.replies[m.seq] = m
        return m

    def send(self, type_, **fields):
        self.seq += 1
        m = Msg(version=VERSION, type=type_, seq=self.seq, epoch=fields.pop("epoch", self.epoch))
        for name, value in fields.items():
            setattr(m, name, value.encode() if isinstance(value, str) else value)
        self.sock.send(bytes(m))
        return self.seq

    def reply(self, seq, seconds=60):
        end = time.monotonic() + seconds
        while seq not in self.replies:
            assert time.monotonic() < end, "no reply within %d s; %s\n%s" % (seconds, self.report, self.log())
            self.receive(end - time.monotonic())
        return self.replies.pop(seq)

    def ask(self, type_, **fields):
        return self.reply(self.send(type_, **fields), fields.pop("seconds", 60))

    def do(self, type_, **fields):
        """ask, and it must work; the reply carries took_ms."""
        start = time.monotonic()
        m = self.ask(type_, **fields)
        m.took_ms = ms_since(start)
        assert m.rc == OK, "rc %d: %s\n%s" % (m.rc, m.text.decode(), self.log())
        return m

    def wait(self, condition, seconds=20):
        """The first report for which condition holds."""
        end = time.monotonic() + seconds
        while True:
            m = self.receive(min(end - time.monotonic(), 1))
            if m is not None and condition(m.report):
                return m.report
            assert time.monotonic() < end, "never came true within %d s; last report: %s\n%s" % (seconds, self.report, self.log())

    def lease(self, ms, grace_ms=0):
        return self.do(LEASE, deadline_ns=now_ns() + ms * 1000000, grace_ms=grace_ms)

    def promote(self, epoch, lease_ms=50000, members="", count=0):
        self.epoch = epoch
        return self.do(PROMOTE, epoch=epoch, deadline_ns=now_ns() + lease_ms * 1000000, sync_members=members, sync_count=count)

    def peer(self):
        return {"peer_node": self.name, "peer_host": "127.0.0.1", "peer_port": self.port}

    def name_peers(self, *addresses, count=None):
        """DBD_PEERS; the reply."""
        rows = (c.c_char * ADDRESS * PEERS_MAX)()
        for row, address in zip(rows, addresses):
            row.value = address.encode()
        return self.ask(PEERS, epoch=0, peers=rows, peer_count=len(addresses) if count is None else count)

    def follow(self, other, **fields):
        return self.do(FOLLOW, **other.peer(), **fields)

    def fresh(self):
        """A report that was made after this call."""
        return self.do(REPORT_NOW).report

    def system_id(self):
        return self.fresh().system_id.decode()

    def server_pid(self):
        """Recorded in the lease file, whose layout is drivers/lease.h."""
        with open(self.dir + "/run/dbd-main.lease", "rb") as f:
            return int.from_bytes(f.read()[80:84], "little")

    def worker_pid(self, task):
        return next((pid for pid, cmd in children_of(self.proc.pid).items() if "--worker " + task in cmd), None)

    def kill_guard(self):
        self.proc.kill()
        self.proc.wait()
        self.sock.close()

    def end(self):
        if self.sock:
            self.sock.close()
        if self.proc and self.proc.poll() is None:
            for pid in children_of(self.proc.pid):
                try:
                    os.kill(pid, signal.SIGCONT)
                except OSError:
                    pass
            self.proc.send_signal(signal.SIGCONT)
            self.proc.terminate()
            try:
                self.proc.wait(15)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
