"""Who takes part in `contrib/bench store`: clusters of three nodes on loopback addresses, each with ports of its own.

A contestant is made, started, asked who leads, loaded through load_command(), and stopped. A new one is a class here and a line in
CONTESTANTS; contrib/bench knows nothing else about it.
"""

import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid

import psycopg2

from nodecerts import Authority

LIMIT_S = 60
HEARTBEAT_S = 0.2
FAR = 9 * 10**18  # a lease that outlives the run: nobody but this cluster's own node leads it
LATENCY_MS = {"fast": 20, "default": 40, "relaxed": 100}  # dqlite's network latency setting
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """Something that a contestant needs is not there; the text says what."""


def wait_for(what, condition, seconds=LIMIT_S):
    """The first true value of condition(); errors of a server that is not there yet count as false."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (psycopg2.Error, OSError) as error:
            last = error
        time.sleep(0.05)
    raise RuntimeError("waited %d s for %s; last error: %s" % (seconds, what, last))


def free_ports(address, count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind((address, 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def die_with_parent():
    """In the child: a bench that is killed leaves no servers behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One process of a contestant, with its output in a file."""

    def __init__(self, command, log_path):
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def check(self):
        if self.process.poll() is not None:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                raise RuntimeError("%s has ended: %s" % (self.log_path, f.read()[-2000:]))


class Contestant:
    """name: for --only and the table. baseline: whom its numbers are compared to."""

    name = title = ""
    baseline = None

    def __init__(self, number, place):
        """number tells its addresses from the others'; place: dirs.base, dirs.bin, dirs.tests, dirs.profile."""
        self.place = place
        self.dir = os.path.join(place.base, self.name)
        self.addresses = ["127.0.%d.%d" % (10 + number, i) for i in (1, 2, 3)]
        self.servers = []
        os.mkdir(self.dir)

    def start(self):
        raise NotImplementedError

    def leader(self):
        """Any name of the present leader, or None."""
        raise NotImplementedError

    def load_command(self):
        """The load program and its --target, aimed at the present leader."""
        raise NotImplementedError

    def check(self):
        for server in self.servers:
            server.check()

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class RawDqlite(Contestant):
    name, title = "dqlite", "bare dqlite"

    def start(self):
        program = os.path.join(self.place.tests, "raw_dqlite")
        self.nodes = ["%s:%d" % (a, free_ports(a, 1)[0]) for a in self.addresses]
        self.program = program
        for i, address in enumerate(self.nodes, 1):
            directory = os.path.join(self.dir, "n%d" % i)
            os.mkdir(directory)
            self.servers.append(Server([program, "node", "--id", str(i), "--address", address, "--dir", directory, "--latency",
                                        str(LATENCY_MS[self.place.profile])], directory + ".log"))
        wait_for("bare dqlite to lead itself", self.leader)
        for i, address in enumerate(self.nodes[1:], 2):
            wait_for("node %d to be taken in" % i, lambda i=i, address=address: subprocess.run(
                [program, "add", "--leader", self.leader() or "", "--id", str(i), "--address", address],
                stderr=subprocess.DEVNULL, check=False).returncode == 0)

    def leader(self):
        for address in self.nodes:
            asked = subprocess.run([self.program, "leader", "--address", address], capture_output=True, text=True, check=False)
            if asked.stdout.strip():
                return asked.stdout.strip()
        return None

    def load_command(self):
        return [self.program, "load", "--target", wait_for("bare dqlite's leader", self.leader)]


class Node:
    """One mha-stored."""

    def __init__(self, name, directory, address):
        self.name, self.dir, self.address = name, directory, address
        self.peer, self.raft, self.sql = free_ports(address, 3)
        self.state, self.run = os.path.join(directory, "state"), os.path.join(directory, "run")
        for path in (directory, self.state, self.run):
            os.mkdir(path)

    def configure(self, nodes, tls):
        listed = "".join("  - {name: %s, address: %s, peer_port: %d, raft_port: %d, sql_port: %d}\n" %
                         (n.name, n.address, n.peer, n.raft, n.sql) for n in nodes)
        self.config = os.path.join(self.dir, "node.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("cluster: bench\nnode: %s\nrole: data\naddress: %s\nports: {peer: %d, raft: %d, sql: %d}\nstate_dir: %s\nrun_dir: %s\n"
                    "tls: %s\nsql: {auth: insecure-trust, listen: %s}\nnodes:\n%s" %
                    (self.name, self.address, self.peer, self.raft, self.sql, self.state, self.run, tls, self.address, listed))

    def control_session(self):
        c = psycopg2.connect(host=self.run, port=self.sql, dbname="config", user="mha", application_name="mha-control")
        c.autocommit = True
        return c

    def ask(self, sql, *args):
        """One statement of the control session; rows as dictionaries."""
        c = self.control_session()
        try:
            cur = c.cursor()
            cur.execute(sql, args or None)
            return [dict(zip([d[0] for d in cur.description], row)) for row in cur.fetchall()] if cur.description else []
        finally:
            c.close()

    def info(self):
        return self.ask("SHOW mha.node")[0]


class Control(threading.Thread):
    """What the control processes of a cluster would tell its stores, as often as they do: without that a node lets go of the
    leadership. The lease is one that never ends."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.ended = nodes, threading.Event()

    def run(self):
        sessions = {}
        while not self.ended.wait(HEARTBEAT_S):
            for n in self.nodes:
                try:
                    if n not in sessions:
                        sessions[n] = n.control_session()
                    sessions[n].cursor().execute("SET mha.lease = '1 %d'" % FAR)
                except psycopg2.Error:
                    sessions.pop(n, None)
        for session in sessions.values():
            session.close()

    def end(self):
        self.ended.set()
        self.join(LIMIT_S)


class Frontend(Contestant):
    """Our store: mha-stored, without the control process, so that only the store is measured."""

    control = None

    name, title, baseline = "plain", "front end, plaintext", "dqlite"

    def tls(self, _node):
        return "{mode: insecure-plaintext}"

    def start(self):
        self.nodes = [Node("n%d" % i, os.path.join(self.dir, "n%d" % i), a) for i, a in enumerate(self.addresses, 1)]
        for n in self.nodes:
            n.configure(self.nodes, self.tls(n))
            self.servers.append(Server([os.path.join(self.place.bin, "mha-stored"), "--config", n.config], n.dir + ".log"))
        for n in self.nodes:
            wait_for("%s to answer" % n.name, n.info)
        self.control = Control(self.nodes)
        self.control.start()
        first, cluster = self.nodes[0], str(uuid.uuid4())
        first.ask("CALL mha_init(%s, %s, %s)", "bench", cluster, self.place.profile)
        wait_for("the first node to lead", lambda: first.info()["is_leader"] == "t")
        for n in self.nodes[1:]:
            n.ask("CALL mha_join(%s, %s)", cluster, self.place.profile)
            member = n.info()["id"]
            first.ask("CALL mha_add(%s, %s)", member, "%s:%d" % (n.address, n.raft))
            wait_for("%s to vote" % n.name, lambda m=member: first.ask("CALL mha_assign(%s, 'voter')", m) == [])
        wait_for("everybody to know the leader", lambda: all(n.info()["leader_id"] == first.info()["id"] for n in self.nodes))

    def stop(self):
        if self.control:
            self.control.end()
        super().stop()

    def leading(self):
        return next((n for n in self.nodes if n.info()["is_leader"] == "t"), None)

    def leader(self):
        n = self.leading()
        return n.name if n else None

    def load_command(self):
        n = wait_for("the leader of %s" % self.title, self.leading)
        return [os.path.join(self.place.tests, "pgload"), "--target",
                "host=%s port=%d dbname=config user=bench sslmode=disable connect_timeout=10" % (n.address, n.sql)]


class TlsFrontend(Frontend):
    name, title, baseline = "tls", "front end, TLS between nodes", "plain"

    def start(self):
        self.authority = Authority(os.path.join(self.dir, "ca"), "bench")
        super().start()
        for n in self.nodes:
            self.check_encryption(n)

    def check_encryption(self, node):
        """A number that is called TLS's must be: the raft port of a node answers a TLS handshake, and with nothing older than 1.3."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.load_cert_chain(*self.authority.issue("probe", node.address)[1:])
        context.check_hostname = False
        try:
            with socket.create_connection((node.address, node.raft), 10) as plain, context.wrap_socket(plain) as wrapped:
                version = wrapped.version()
        except OSError as error:
            raise Unavailable("%s does not answer a TLS handshake on its raft port: %s" % (node.name, error)) from error
        if version != "TLSv1.3":
            raise Unavailable("%s speaks %s on its raft port" % (node.name, version))

    def tls(self, node):
        ca, cert, key = self.authority.issue(node.name, node.address)
        return "{mode: files, ca: %s, cert: %s, key: %s}" % (ca, cert, key)


CONTESTANTS = (RawDqlite, Frontend, TlsFrontend)
