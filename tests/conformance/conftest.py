"""Every scenario of test_contract.py runs against every engine that is listed here; what is special to one has a file of its own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import dbd  # noqa: E402

TIMES = []


def why_not(engine):
    if dbd.find_bin("mha-dbd") is None:
        return "mha-dbd is not built"
    if engine == "postgresql" and not os.access("/usr/lib/postgresql/15/bin/postgres", os.X_OK):
        return "PostgreSQL 15 is not installed"
    return None


class Fake:
    """What a user of the simulated server can do."""
    engine = "fake"

    def line(self, node, text, seconds=5):
        with socket.create_connection(("127.0.0.1", node.port), timeout=seconds) as s:
            s.sendall(text.encode() + b"\n")
            return s.makefile().readline().strip()

    def write(self, node, seconds=5):
        """One acknowledged write; raises when it is refused or not acknowledged in time."""
        answer = self.line(node, "WRITE", seconds)
        if not answer.startswith("OK"):
            raise RuntimeError(answer)

    def holds(self, node):
        """How much a reader sees."""
        _, timeline, position = self.line(node, "STATUS").split()[:3]
        return int(position) - int(timeline)  # a promotion counts in both


class PostgreSQL:
    engine = "postgresql"

    def connect(self, node, seconds=5):
        import psycopg
        return psycopg.connect(host="127.0.0.1", port=node.port, user="postgres", dbname="postgres", autocommit=True, connect_timeout=seconds,
                               options="-c statement_timeout=%d" % (seconds * 1000))

    def acknowledged(self, conn, statement, seconds):
        """Run one statement. A cancelled wait for a standby is a warning to PostgreSQL; for its user it was not acknowledged."""
        notices = []
        conn.add_notice_handler(lambda n: notices.append(n.message_primary))
        timer = threading.Timer(seconds, conn.cancel)  # statement_timeout does not end the wait of a commit
        timer.start()
        try:
            conn.execute(statement)
        finally:
            timer.cancel()
        assert not any("canceling" in n for n in notices), notices

    def write(self, node, seconds=5):
        with self.connect(node, seconds) as conn:
            self.acknowledged(conn, "CREATE TABLE IF NOT EXISTS t (i serial PRIMARY KEY, node text)", seconds)
            self.acknowledged(conn, "INSERT INTO t (node) VALUES ('%s')" % node.name, seconds)

    def holds(self, node):
        with self.connect(node) as conn:
            return conn.execute("SELECT count(*) FROM t").fetchone()[0]


@pytest.fixture(params=["fake", "postgresql"])
def user(request):
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return {"fake": Fake, "postgresql": PostgreSQL}[request.param]()


@pytest.fixture
def node(user, request):
    """Makes the mha-dbd of a node: node(1), node(2)..."""
    folder = tempfile.mkdtemp(prefix="mha-conf-")
    os.chmod(folder, 0o755)
    made = {}

    def make(number, **instance):
        if number not in made:
            made[number] = dbd.Dbd(folder, "n%d" % number, user.engine, **instance)
            made[number].start()
        return made[number]
    yield make
    for n in made.values():
        n.end()
    unclean = [n.name for n in made.values() if "Sanitizer" in n.log() or "runtime error:" in n.log()]
    failed = unclean or getattr(request.node, "rep_call", None) is None or request.node.rep_call.failed
    if failed:
        print("kept: " + folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    assert not unclean, "a sanitizer complains in the log of mha-dbd on %s" % unclean


@pytest.fixture
def took(user, request):
    """Note a time for the summary: took("promote", ms)."""
    def note(what, ms):
        TIMES.append((user.engine, what, ms))
        return ms
    return note


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    setattr(item, "rep_" + outcome.get_result().when, outcome.get_result())


def pytest_terminal_summary(terminalreporter):
    if TIMES:
        terminalreporter.section("times, ms")
        for engine, what, ms in TIMES:
            terminalreporter.write_line("%-12s %-60s %7.1f" % (engine, what, ms))
