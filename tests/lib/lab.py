"""contrib/lab for Python: one object per lab, and waiting for conditions instead of sleeping."""

import ctypes
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from prober import Report

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(REPO, "contrib", "lab")
PROBER = os.path.join(REPO, "tests", "lib", "prober.py")


CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter_namespace(path):
    with open(path, encoding="ascii") as f:
        if LIBC.setns(f.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", path)


class Timeout(AssertionError):
    """A condition did not come true in time; the text says what was seen last."""


def wait_for(what, condition, seconds=30.0, every=0.05):
    """Call condition() until it returns something true, and return that. `what` completes the sentence 'waited for ...'."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout("waited %.0f s for %s; last seen: %r" % (seconds, what, value))
        time.sleep(every)


def incomplete(status):
    """What a status lacks for the loss of a host to be survived, in words; "" for nothing."""
    if not status.get("quorum"):
        return "no quorum"
    away = [n["name"] for n in status["nodes"] if n["state"] != "online"]
    if away:
        return "not online: " + ", ".join(away)
    voting = [n["name"] for n in status["nodes"] if n["role"] in ("voter", "arbiter")]
    wanted = (min(len(status["nodes"]), 5) - 1) // 2 * 2 + 1  # an odd number, five at the most
    if len(voting) < wanted:
        return "only %s vote; %d should" % (", ".join(voting), wanted)
    for g in status["groups"]:
        instances = ", ".join("%s is %s and %s" % (i["node"], i["role"], i["state"]) for i in g["instances"])
        replicas = [i for i in g["instances"] if i["role"] == "replica" and i["state"] == "running"]
        if g["state"] != "steady" or len(replicas) != len(g["instances"]) - 1:
            return "group %s is %s (%s): %s" % (g["name"], g["state"], g["reason"], instances)
        if g["durability"] == "sync" and replicas and not any(i["sync"] for i in replicas):
            return "group %s has no synchronous replica: %s" % (g["name"], instances)
    return ""


class Lab:
    """A lab in a folder of its own. Use as a context manager: it is taken down whatever happens; after a failure its logs stay."""

    keep_logs = False  # set once a test has failed

    def __init__(self, directory=None, nodes=3, arbiter=False, engine="postgresql", profile="fast", durability="sync", tls=True):
        self.dir = directory or tempfile.mkdtemp(prefix="mha-lab-", dir="/tmp")
        self.nodes, self.arbiter, self.engine, self.profile, self.durability, self.tls = nodes, arbiter, engine, profile, durability, tls
        self.env = {}

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down(keep_logs=True)
            raise
        return self

    def __exit__(self, kind, error, trace):
        self.down(keep_logs=error is not None)

    def run(self, *args, check=True, timeout=90, **more):
        """contrib/lab ARGS; output captured. With check, an error carries the command's own words."""
        done = subprocess.run([LAB, "--dir", self.dir, *args], capture_output=True, text=True, timeout=timeout, check=False, **more)
        if check and done.returncode != 0:
            raise RuntimeError("lab %s: exit code %d\n%s%s" % (" ".join(args), done.returncode, done.stdout, done.stderr))
        return done

    def up(self):
        """Returns the seconds it took."""
        start = time.monotonic()
        options = ["--nodes", str(self.nodes), "--engine", self.engine, "--profile", self.profile, "--durability", self.durability,
                   "--tls", "on" if self.tls else "off"]
        os.chmod(self.dir, 0o755)
        self.run("up", *options, *(["--arbiter"] if self.arbiter else []), timeout=180)
        self.load_env()
        return time.monotonic() - start

    def load_env(self):
        words = shlex.split(self.run("env").stdout)
        self.env = dict(word.partition("=")[::2] for word in words)
        self.hosts = self.env["LAB_HOSTS"].split()
        self.data_hosts = [h for h in self.hosts if h != "arb"]
        self.vip = self.env["LAB_VIP"]

    def down(self, keep_logs=False):
        if keep_logs or Lab.keep_logs:
            self.run("down", "--keep-logs", check=False)
            if os.path.isdir(self.dir) and os.listdir(self.dir):
                print("the logs of this lab are in %s" % self.dir, file=sys.stderr)
        else:
            self.run("down", check=False)
        if os.path.isdir(self.dir) and not os.listdir(self.dir):
            os.rmdir(self.dir)  # `up` had not come far enough to make it a lab

    def add(self, host):
        """One more host, fresh; not a member yet."""
        self.run("add", host)
        self.load_env()

    def join(self, host):
        self.run("join", host)

    def move(self, host, address):
        self.run("move", host, address)
        self.load_env()

    def wipe(self, host):
        self.run("wipe", host)

    # --- faults ---

    def crash(self, host):
        self.run("crash", host)

    def start(self, host):
        self.run("start", host)

    def cut(self, host):
        self.run("cut", host)

    def heal(self, host):
        self.run("heal", host)

    def pids(self, host, program):
        """Processes of a host whose executable is called `program`, oldest first."""
        out = []
        for pid in self.run("pids", host).stdout.split():
            try:
                name = os.path.basename(os.readlink("/proc/%s/exe" % pid))
                with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if name == program:
                out.append((int(fields[19]), int(pid), int(fields[1])))
        return [pid for _, pid, _ in sorted(out)]

    @staticmethod
    def parent_of(pid):
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[1])

    def children_of_program(self, host, program):
        """The processes of `program` whose parent is of the same program: mhad's control process, mha-dbd's workers."""
        pids = self.pids(host, program)
        return [p for p in pids if self.parent_of(p) in pids]

    def postmaster(self, host):
        with open(os.path.join(self.dir, host, "pg", "data", "postmaster.pid"), encoding="ascii") as f:
            return int(f.readline())

    @staticmethod
    def signal(pids, number=signal.SIGKILL):
        for pid in pids if isinstance(pids, list) else [pids]:
            os.kill(pid, number)

    # --- what the manager says ---

    def shell(self, host, *args, check=True, timeout=60):
        """mha-shell on a host, over its own API address."""
        scheme = "https" if self.env["LAB_TLS"] == "on" else "http"
        url = "%s://%s:%s" % (scheme, self.env["LAB_ADDRESS_" + host], self.env["LAB_PEER_PORT"])
        return self.run("exec", host, "mha-shell", "--node", url, *args, check=check, timeout=timeout)

    def status(self):
        """`cluster status` as a dict, {} while no host answers with one."""
        done = self.run("status", "-f", "json", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def group(self, status=None):
        groups = (self.status() if status is None else status).get("groups") or [{}]
        return groups[0]

    def primary(self):
        return self.group().get("primary")

    def wait_primary(self, not_this=None, seconds=30):
        """The name of the group's primary once the group is steady (with another primary than not_this)."""
        def check():
            g = self.group()
            return g.get("primary") if g.get("state") == "steady" and g.get("primary") != not_this else None
        return wait_for("a steady group%s" % (" with another primary than %s" % not_this if not_this else ""), check, seconds, 0.2)

    def wait_redundant(self, seconds=90):
        """Everything online, every instance running, one replica of a synchronous group in sync: ready for the next fault. The status."""
        end = time.monotonic() + seconds
        while True:
            status = self.status()
            why = incomplete(status)
            if not why:
                return status
            if time.monotonic() > end:
                raise Timeout("the cluster is not complete after %.0f s: %s" % (seconds, why))
            time.sleep(0.2)

    def connect(self, host, port, via="client", timeout=5.0):
        """A TCP connection from one host to another one (or to an address). A socket stays in the namespace that it was made in."""
        own = "/proc/self/task/%d/ns/net" % threading.get_native_id()
        with open(own, encoding="ascii") as here:
            enter_namespace("/run/netns/%s%s" % (self.env["LAB_NETNS_PREFIX"], via))
            try:
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                enter_namespace("/proc/self/fd/%d" % here.fileno())
        sock.settimeout(timeout)
        sock.connect((self.env.get("LAB_ADDRESS_" + host, host), int(port)))
        return sock

    def secure(self, sock):
        """The same connection with an administrator's certificate; as it is when the lab does without."""
        if self.env["LAB_TLS"] == "off":
            return sock
        folder = self.env["LAB_TLS_DIR"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(folder + "/ca.pem")
        context.load_cert_chain(folder + "/admin.pem", folder + "/admin.key")
        return context.wrap_socket(sock)

    # --- SQL ---

    def psql(self, host, sql, database=None, port=None, user=None, check=True):
        """One statement from the client host; `host` is a host's name or an address. Returns psql's unaligned rows."""
        address = self.env.get("LAB_ADDRESS_" + host, host)
        dsn = "host=%s port=%s user=%s dbname=%s connect_timeout=3" % (
            address, port or self.env["LAB_DB_PORT"], user or self.env["LAB_USER"], database or self.env["LAB_DATABASE"])
        done = self.run("client", "psql", "-XqAtv", "ON_ERROR_STOP=1", dsn, "-c", sql, check=check)
        return done.stdout.strip()

    def store_sql(self, sql, host=None, check=True):
        return self.psql(host or self.vip, sql, database="config", port=self.env["LAB_SQL_PORT"], check=check)

    def probe(self, name, host="client", targets=("postgresql", "store"), address=None, arp=True, create=True):
        """Start an application that writes to each target through `address` (the VIP); use as a context manager."""
        return Probe(self, name, host, targets, address or self.vip, arp, create)


class Probe:
    """A running prober; report() may be asked at any time."""

    def __init__(self, lab, name, host, targets, address, arp, create):
        self.lab, self.run_name = lab, name
        self.out = os.path.join(lab.dir, "probe-%s.jsonl" % name)
        ports = {"postgresql": (lab.env["LAB_DB_PORT"], lab.env["LAB_DATABASE"]), "store": (lab.env["LAB_SQL_PORT"], "config")}
        command = [LAB, "--dir", lab.dir, "exec", host, "/usr/bin/python3", PROBER, "--run", name, "--out", self.out]
        for kind in targets:
            command += ["--target", ",".join([kind, kind, address, ports[kind][0], lab.env["LAB_USER"], ports[kind][1]])]
        command += ["--arp", address] if arp else []
        command += [] if create else ["--no-create"]
        self.targets = targets
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def report(self):
        return Report(self.out) if os.path.exists(self.out) else None

    def wait_writing(self, since=None, rows=20, seconds=40):
        """Until each target has acknowledged so many rows that were sent after `since` (now, when left out)."""
        since = time.monotonic() if since is None else since

        def check():
            if self.process.poll() is not None:
                raise AssertionError("the prober ended by itself with exit code %d" % self.process.returncode)
            report = self.report()
            return report if report and all(report.acked_since(t, since) >= rows for t in self.targets) else None
        return wait_for("%d acknowledged rows on each of %s" % (rows, ", ".join(self.targets)), check, seconds, 0.1)

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def missing(self, to, host):
        """Acknowledged rows that the server at `host` (a host's name or an address) does not have."""
        sql = "SELECT id FROM mha_probe WHERE run = '%s'" % self.run_name
        rows = self.lab.psql(host, sql) if to == "postgresql" else self.lab.store_sql(sql, host)
        return self.report().acked_ids(to) - {int(x) for x in rows.split()}
