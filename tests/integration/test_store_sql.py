"""The SQL port of mha-stored, with the clients that people use: psql, psycopg2, psycopg 3. One real node; then three on 127.0.0.x.

Run: /usr/bin/python3 -m pytest tests/integration/test_store_sql.py
Programs are taken from $MHA_BIN (default: build/dev/bin of this checkout).
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import psycopg
import psycopg2
import psycopg2.extras
import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests/lib"))
import nodecerts

BIN = pathlib.Path(os.environ.get("MHA_BIN", REPO / "build/dev/bin"))
STORED = BIN / "mha-stored"
FAR = 9 * 10**18  # a lease that outlives the test
LIMIT_S = 20

pytestmark = pytest.mark.skipif(not STORED.exists(), reason=f"{STORED} is not built (MHA_BIN)")


def wait_for(condition, what, limit_s=LIMIT_S):
    """Returns the first true value of condition(); errors of a server that is not there yet count as false."""
    end = time.monotonic() + limit_s
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (psycopg2.Error, psycopg.Error, OSError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"waited {limit_s} s for {what}; last error: {last}")


def free_ports(address, count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind((address, 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Node:
    def __init__(self, base, name, address, ports):
        self.name, self.address = name, address
        self.peer, self.raft, self.port = ports
        self.dir = base / name
        self.run = self.dir / "run"
        (self.dir / "state").mkdir(parents=True)
        self.run.mkdir()
        self.process = None
        self.tls = "{mode: insecure-plaintext}"

    def as_yaml(self):
        return (
            f"  - {{name: {self.name}, address: {self.address}, peer_port: {self.peer}, raft_port: {self.raft},"
            f" sql_port: {self.port}}}\n"
        )

    def configure(self, nodes):
        (self.dir / "node.yaml").write_text(
            f"cluster: lab\nnode: {self.name}\nrole: data\naddress: {self.address}\n"
            f"ports: {{peer: {self.peer}, raft: {self.raft}, sql: {self.port}}}\n"
            f"state_dir: {self.dir}/state\nrun_dir: {self.run}\ntls: {self.tls}\nsql: {{auth: insecure-trust, listen: {self.address}}}\nnodes:\n"
            + "".join(n.as_yaml() for n in nodes)
        )

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen([STORED, "--config", self.dir / "node.yaml"], stdout=self.log, stderr=self.log)
        wait_for(lambda: (self.run / f".s.PGSQL.{self.port}").exists() and self.control(), f"{self.name} to be ready").close()

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        assert self.is_alive(), f"{self.name} has died: {self.log_text()}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(LIMIT_S) == 0, self.log_text()
        self.log.close()

    def log_text(self):
        return (self.dir / "log").read_text()

    # --- ways in ---

    def control(self):
        c = psycopg2.connect(host=str(self.run), port=self.port, dbname="config", user="mha", application_name="mha-control")
        c.autocommit = True
        return c

    def do(self, sql, *args):
        """One statement of the control session."""
        c = self.control()
        try:
            cur = c.cursor()
            cur.execute(sql, args or None)
            return cur.fetchall() if cur.description else None
        finally:
            c.close()

    def info(self):
        c = self.control()
        try:
            cur = c.cursor()
            cur.execute("SHOW mha.node")
            return dict(zip([d[0] for d in cur.description], cur.fetchone()))
        finally:
            c.close()

    def grant(self, deadline=FAR, generation=1):
        self.do("SET mha.lease = '%d %d'" % (generation, deadline))

    def local(self, **more):
        return psycopg2.connect(host=str(self.run), port=self.port, dbname="config", user="root", **more)

    def tcp(self, **more):
        return psycopg2.connect(host=self.address, port=self.port, dbname="config", user="app", **more)

    def pg3(self, **more):
        return psycopg.connect(host=self.address, port=self.port, dbname="config", user="app", autocommit=True, **more)

    def psql(self, *args, db="config"):
        return subprocess.run(
            ["psql", "-X", "-h", str(self.run), "-p", str(self.port), "-d", db, *args], capture_output=True, text=True, timeout=30
        )


def boottime_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def init(node, profile="fast"):
    node.do("CALL mha_init(%s, %s, %s)", "lab", str(uuid.uuid4()), profile)
    wait_for(lambda: node.info()["is_leader"] == "t", "the first node to lead")


@pytest.fixture(scope="module")
def node():
    base = pathlib.Path(tempfile.mkdtemp(prefix="mha-sql-"))
    n = Node(base, "n1", "127.0.0.1", free_ports("127.0.0.1", 3))
    n.configure([n])
    n.start()
    try:
        with pytest.raises(psycopg2.OperationalError, match="not initialised"):
            n.tcp()
        init(n)
        n.grant()
        yield n
        n.stop()
    finally:
        if n.is_alive():
            n.process.kill()
            n.process.wait()
        shutil.rmtree(base)


@pytest.fixture(autouse=True)
def node_survives(request):
    yield
    if "node" in request.fixturenames:
        n = request.getfixturevalue("node")
        assert n.is_alive(), n.log_text()


@pytest.fixture
def table(node):
    c = node.local()
    c.autocommit = True
    c.cursor().execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER, f REAL, b BLOB)")
    yield c
    node.grant()
    c.close()
    last = node.local()
    last.autocommit = True
    last.cursor().execute("DROP TABLE t")
    last.close()


def code_of(cursor, sql, args=None):
    with pytest.raises(psycopg2.Error) as caught:
        cursor.execute(sql, args)
    return caught.value.pgcode


# --- psql ---


def test_psql_creates_fills_and_reads_a_table(node):
    done = node.psql("-c", "create table p(id integer primary key, name text)", "-c", "insert into p(name) values('a'),('b')", "-c", "select * from p")
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE" in done.stdout and "INSERT 0 2" in done.stdout and "(2 rows)" in done.stdout
    assert node.psql("-c", "drop table p").returncode == 0


def test_psql_shows_the_place_of_a_syntax_error(node):
    done = node.psql("-c", "select 1 frm nowhere where")
    assert done.returncode != 0
    assert "syntax error" in done.stderr and "LINE 1" in done.stderr and "^" in done.stderr


def test_an_unknown_database_is_refused(node):
    done = node.psql("-c", "select 1", db="other")
    assert done.returncode == 2 and 'database "other" does not exist' in done.stderr


def test_several_statements_in_one_query_are_one_transaction(node, table):
    done = node.psql("-c", "insert into t(id) values(1); insert into t(id) values(2); insert into t(id) values(1)")
    assert "UNIQUE" in done.stderr
    cur = table.cursor()
    cur.execute("SELECT id FROM t")
    assert cur.fetchall() == []
    cur.execute("INSERT INTO t(id) VALUES (1); INSERT INTO t(id) VALUES (2); SELECT id FROM t ORDER BY id")
    assert cur.fetchall() == [(1,), (2,)]


def test_a_trigger_with_statements_inside_is_one_statement(node, table):
    cur = table.cursor()
    cur.execute("CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET n = 7 WHERE id = new.id; SELECT 1; END; INSERT INTO t(id) VALUES (5)")
    cur.execute("SELECT n FROM t")
    assert cur.fetchall() == [(7,)]


# --- psycopg2 ---


def test_values_come_back_as_they_went(node, table):
    cur = table.cursor()
    text, blob = "it's \\ a \"test\" \u00fc\n", bytes(range(256))
    cur.execute("INSERT INTO t(name, n, f, b) VALUES (%s, %s, %s, %s) RETURNING id", (text, -(2**63), 0.1, psycopg2.Binary(blob)))
    assert cur.fetchall() == [(1,)]
    cur.execute("SELECT count(*), max(id), sum(f) AS s, coalesce(max(n), 0) FROM t")
    assert cur.fetchall() == [(1, 1, 0.1, -(2**63))]
    cur.execute("SELECT name, n, f, b FROM t")
    row = cur.fetchone()
    assert row[:3] == (text, -(2**63), 0.1) and bytes(row[3]) == blob


def test_transactions_commit_and_roll_back(node, table):
    c = node.local()
    cur = c.cursor()
    cur.execute("INSERT INTO t(id) VALUES (1)")
    c.rollback()
    cur.execute("INSERT INTO t(id) VALUES (2)")
    c.commit()
    cur.execute("SELECT id FROM t")
    assert cur.fetchall() == [(2,)]
    c.close()


def test_errors_carry_a_sqlstate_and_fail_the_transaction(node, table):
    c = node.local()
    cur = c.cursor()
    cur.execute("INSERT INTO t(id, name) VALUES (1, 'a')")
    with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
        cur.execute("INSERT INTO t(name) VALUES ('a')")
    assert (caught.value.diag.table_name, caught.value.diag.column_name) == ("t", "name")
    assert code_of(cur, "SELECT 1") == "25P02"
    c.rollback()
    for sql, code in [
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT missing FROM t", "42703"),
        ("SELECT nofunc(1)", "42883"),
        ("SELEC 1", "42601"),
        ("CREATE TABLE t(a)", "42P07"),
        ("LISTEN other", "0A000"),
        ("SET nothing = 1", "42704"),
    ]:
        assert code_of(cur, sql) == code, sql
        c.rollback()
    c.close()


def test_a_savepoint_survives_an_error(node, table):
    c = node.local()
    cur = c.cursor()
    cur.execute("INSERT INTO t(id) VALUES (1)")
    cur.execute("SAVEPOINT s")
    assert code_of(cur, "INSERT INTO t(id) VALUES (1)") == "23505"
    cur.execute("ROLLBACK TO SAVEPOINT s")
    cur.execute("INSERT INTO t(id) VALUES (2)")
    cur.execute("RELEASE SAVEPOINT s")
    c.commit()
    cur.execute("SELECT id FROM t ORDER BY id")
    assert cur.fetchall() == [(1,), (2,)]
    c.close()


def test_a_schema_change_that_is_rolled_back_is_forgotten(node, table):
    c = node.local()
    cur = c.cursor()
    cur.execute("CREATE TABLE gone(a)")
    cur.execute("INSERT INTO gone VALUES (1)")
    assert code_of(table.cursor(), "SELECT * FROM gone") == "42P01"  # not seen by others
    cur.execute("SELECT * FROM gone")  # and still by its own
    c.rollback()
    assert code_of(cur, "SELECT * FROM gone") == "42P01"
    c.close()


def test_writers_wait_for_each_other_and_never_see_busy(node, table):
    errors = []

    def work(k):
        try:
            c = node.tcp()
            cur = c.cursor()
            for i in range(20):
                cur.execute("INSERT INTO t(name) VALUES (%s)", (f"{k}-{i}",))
                if k % 2 == 0:
                    cur.execute("UPDATE t SET n = %s WHERE name = %s", (i, f"{k}-{i}"))
                c.commit()
            c.close()
        except psycopg2.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert errors == []
    cur = table.cursor()
    cur.execute("SELECT id FROM t")
    assert len(cur.fetchall()) == 160


def test_a_group_that_commits_together_fails_apart(node, table):
    """Autocommit statements that wait together share a commit; OR ROLLBACK of one must not undo the others."""
    holder = node.local()
    holder.cursor().execute("INSERT INTO t(id, name) VALUES (1000, 'taken')")  # keeps the slot, so that the others gather
    results = {}

    def work(k):
        c = node.tcp()
        c.autocommit = True
        verb = "INSERT OR ROLLBACK" if k % 3 == 0 else "INSERT"
        try:
            c.cursor().execute(f"{verb} INTO t(id, name) VALUES (%s, %s)", (k, "taken" if k % 3 == 0 else f"n{k}"))
            results[k] = None
        except psycopg2.Error as error:
            results[k] = error.pgcode
        c.close()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(12)]
    [t.start() for t in threads]
    time.sleep(0.3)  # most of them wait now; the outcome does not depend on it
    holder.commit()
    holder.close()
    [t.join(30) for t in threads]
    assert results == {k: "23505" if k % 3 == 0 else None for k in range(12)}
    cur = table.cursor()
    cur.execute("SELECT id FROM t WHERE id < 1000 ORDER BY id")
    assert [r[0] for r in cur.fetchall()] == [k for k in range(12) if k % 3 != 0]


@pytest.mark.parametrize("more_texts", [[], ["UPDATE t SET f = 1.5 WHERE n = $1 /* never closed"]])
def test_statements_that_travel_together_are_told_their_own_counts(node, table, more_texts):
    """A trigger's changes do not count, a comment or a semicolon at the end swallows nothing, and parameters stay with their statement,
    also those that a client sends although the text has no place for them."""
    cur = table.cursor()
    cur.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY, k INTEGER)")
    cur.execute("CREATE TRIGGER t_seen AFTER UPDATE ON t BEGIN INSERT INTO seen(k) VALUES (new.n), (new.n); END")
    for k in range(12):
        cur.executemany("INSERT INTO t(n, name) VALUES (%s, %s)", [(k, f"{k}-{i}") for i in range(k)])
    texts = ["UPDATE t SET f = 1.5 WHERE n = $1", "UPDATE t SET f = 1.5 WHERE n = $1 -- all of them;", "UPDATE t SET f = 1.5 WHERE n = $1; ;"]
    texts += more_texts
    holder = node.local()
    holder.cursor().execute("INSERT INTO t(id, name) VALUES (1000, 'holder')")  # keeps the slot, so that the others gather
    results = {}

    def work(k):
        with node.pg3() as c:
            values = [str(k).encode(), b"more"][: 1 + k % 2]
            done = c.pgconn.exec_params(texts[k % len(texts)].encode(), values, [20, 25][: len(values)])
            results[k] = done.command_status or done.error_message

    threads = [threading.Thread(target=work, args=(k,)) for k in range(12)]
    [t.start() for t in threads]
    time.sleep(0.3)  # most of them wait now; the outcome does not depend on it
    holder.commit()
    holder.close()
    [t.join(30) for t in threads]
    assert results == {k: f"UPDATE {k}".encode() for k in range(12)}
    cur.execute("SELECT n, count(*) FROM t WHERE f = 1.5 GROUP BY n ORDER BY n")
    assert cur.fetchall() == [(k, k) for k in range(1, 12)]
    cur.execute("DROP TABLE seen")


def test_a_session_that_dies_gives_the_slot_back(node, table):
    c = node.tcp()
    c.cursor().execute("INSERT INTO t(id) VALUES (1)")
    os.close(os.dup(c.fileno()))
    socket.socket(fileno=os.dup(c.fileno())).shutdown(socket.SHUT_RDWR)
    cur = table.cursor()
    cur.execute("INSERT INTO t(id) VALUES (2)")
    cur.execute("SELECT id FROM t")
    assert cur.fetchall() == [(2,)]


def test_users_may_read_but_not_write_the_cluster_database(node):
    c = psycopg2.connect(host=node.address, port=node.port, dbname="mha", user="app")
    c.autocommit = True
    cur = c.cursor()
    cur.execute("SELECT name FROM sqlite_master")
    assert cur.fetchall()
    assert code_of(cur, "CREATE TABLE x(a)") == "25006"
    assert code_of(cur, "CALL mha_remove('1')") == "42501"
    assert code_of(cur, "SET mha.lease = '9 9'") == "42501"
    c.close()


# --- psycopg 3 ---


def test_psycopg3_prepares_and_sends_binary_integers(node, table):
    c = node.pg3()
    for i in range(12):  # prepared on the server after five
        c.execute("INSERT INTO t(id, name, f, b) VALUES (%s, %s, %s, %s)", (i, f"n{i}", i / 4, b"x" * i))
    rows = c.execute("SELECT id, name, f, b FROM t WHERE id >= %s AND name <> %s ORDER BY id", (10, "n11"), prepare=True).fetchall()
    assert rows == [(10, "n10", 2.5, b"x" * 10)]
    cur = c.cursor(binary=True)
    assert cur.execute("SELECT id, name, f, b FROM t WHERE id = %s", (3,)).fetchall() == [(3, "n3", 0.75, b"xxx")]
    with c.transaction():
        c.execute("UPDATE t SET n = %s WHERE id = %s", (70000, 1))
        with pytest.raises(psycopg.errors.UniqueViolation):
            with c.transaction():
                c.execute("INSERT INTO t(id) VALUES (%s)", (1,))
    assert c.execute("SELECT n FROM t WHERE id = %s", (1,)).fetchone() == (70000,)
    c.close()


def test_a_pipeline_without_a_sync_is_one_transaction(node, table):
    c = node.pg3()
    with pytest.raises(psycopg.errors.UniqueViolation):
        with c.pipeline():
            c.execute("INSERT INTO t(id) VALUES (%s)", (1,))
            c.execute("INSERT INTO t(id) VALUES (%s)", (1,))
    with c.pipeline():
        c.execute("INSERT INTO t(id) VALUES (%s)", (8,))
        c.execute("INSERT INTO t(id) VALUES (%s)", (9,))
    assert c.execute("SELECT id FROM t ORDER BY id").fetchall() == [(8,), (9,)]
    c.close()


def test_a_prepared_statement_notices_a_new_schema(node, table):
    c = node.pg3()
    sql = "SELECT * FROM t WHERE id > %s"
    c.execute(sql, (0,), prepare=True)
    table.cursor().execute("ALTER TABLE t ADD COLUMN more TEXT")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
        c.execute(sql, (0,), prepare=True)
    c.close()


# --- what must never hurt the node ---


def test_values_under_deadly_types_do_not_kill_the_node(node):
    """dqlite aborts on a REAL in a DATETIME column and on TEXT in a BOOLEAN one; the front end keeps it from seeing the types."""
    c = node.local()
    c.autocommit = True
    cur = c.cursor()
    cur.execute("CREATE TABLE deadly(id INTEGER PRIMARY KEY, d DATETIME, b BOOLEAN, y DATE, z TIMESTAMP)")
    cur.execute("INSERT INTO deadly VALUES (1, 3.5, 'yes', 2.5, 1.5), (2, 'now', 1, 7, x'00'), (3, NULL, 0, '2024-01-02', NULL)")
    raw = psycopg2.extensions.new_type((1114, 1082, 16), "RAW", lambda value, _: value)
    psycopg2.extensions.register_type(raw, cur)
    expected = [(1, "3.5", "yes", "2.5", "1.5"), (2, "now", "t", "7", "\\x00"), (3, None, "f", "2024-01-02", None)]
    cur.execute("SELECT * FROM deadly ORDER BY id")
    assert cur.fetchall() == expected
    cur.execute("SELECT d, (SELECT b FROM deadly WHERE id = 1) FROM deadly ORDER BY id DESC LIMIT 2 -- end")
    assert cur.fetchall() == [(None, "yes"), ("now", "yes")]
    cur.execute("WITH w AS (SELECT d FROM deadly) SELECT d FROM w UNION ALL SELECT b FROM deadly")
    assert len(cur.fetchall()) == 6
    cur.execute("UPDATE deadly SET b = 'no' WHERE id = 1 RETURNING b, *")
    assert cur.fetchall() == [("no", 1, "3.5", "no", "2.5", "1.5")]
    cur.execute("DROP TABLE deadly")
    c.close()


def test_statements_that_would_harm_the_store_are_refused(node, table):
    cur = table.cursor()
    for sql in [
        "ATTACH 'x' AS y",
        "DETACH y",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint",
        "PRAGMA writable_schema = 1",
        "PRAGMA foreign_keys = 0",
        "SELECT * FROM pragma_optimize",
        "VACUUM INTO 'x'",
        "CREATE TEMP TABLE x(a)",
    ]:
        assert code_of(cur, sql) == "0A000", sql
    cur.execute("PRAGMA table_info(t)")
    assert len(cur.fetchall()) == 5
    cur.execute("EXPLAIN QUERY PLAN SELECT * FROM t")
    assert cur.fetchall()


def startup(**params):
    body = struct.pack("!i", 196608) + b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in params.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def test_broken_messages_close_only_their_own_session(node):
    hello = startup(user="app", database="config")
    for data in [
        b"\0\0\0\1",
        b"\xff\xff\xff\xff" + b"x" * 100,
        hello + b"Q\xff\xff\xff\xff",
        hello + b"Q\0\0\0\1",
        hello + b"Q\0\0\0\7abc",
        hello + b"P\0\0\0\5x",
        hello + b"B\0\0\0\x08\0\0\xff\xff",
        hello + b"B" + struct.pack("!i", 12) + b"\0\0\0\1\0\0\0\0",
        hello + b"\0\0\0\0\5x",
    ]:
        s = socket.create_connection((node.address, node.port))
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        s.settimeout(LIMIT_S)
        while s.recv(65536):
            pass
        s.close()
    assert node.psql("-c", "select 1").returncode == 0


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"


@pytest.mark.parametrize("sql", [ENDLESS, "INSERT INTO t(n) " + ENDLESS, "INSERT INTO t(n) " + ENDLESS + " RETURNING n"])
@pytest.mark.parametrize("autocommit", [True, False])
def test_an_endless_statement_can_be_cancelled(node, table, sql, autocommit):
    c = node.tcp()
    c.autocommit = autocommit
    timer = threading.Timer(0.3, c.cancel)
    timer.start()
    assert code_of(c.cursor(), sql) == "57014"
    timer.join()
    if not autocommit:
        assert code_of(c.cursor(), "SELECT 1") == "25P02"
        c.rollback()
    c.cursor().execute("INSERT INTO t(id) VALUES (1)")
    c.close()
    assert wait_until_quiet(node)


def cpu_ticks(node):
    fields = (pathlib.Path("/proc") / str(node.process.pid) / "stat").read_text().rsplit(") ", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def wait_until_quiet(node):
    """The process computes nothing: over a quarter of a second it uses less than a fifth of a core."""

    def is_quiet():
        before = cpu_ticks(node)
        time.sleep(0.25)
        return cpu_ticks(node) - before < 5

    return wait_for(is_quiet, "the statement to stop")


def test_an_endless_statement_ends_with_its_client(node, table):
    for autocommit in (True, False):
        for sql in (ENDLESS, "INSERT INTO t(n) " + ENDLESS):
            c = node.tcp(async_=True)
            psycopg2.extras.wait_select(c)
            c.cursor().execute(sql if autocommit else "BEGIN; " + sql)
            c.poll()
            time.sleep(0.3)
            c.close()
    table.cursor().execute("INSERT INTO t(id) VALUES (1)")
    assert wait_until_quiet(node)


# --- leases and leadership ---


def test_without_a_lease_nothing_is_read_and_the_control_session_is(node, table):
    node.grant(boottime_ns() + 300_000_000, generation=2)
    time.sleep(0.4)
    start = time.monotonic()
    assert code_of(table.cursor(), "SELECT id FROM t") == "57P03"
    assert 4 < time.monotonic() - start < 10
    assert node.do("SELECT id FROM t") == []
    timer = threading.Timer(0.5, node.grant, (FAR, 3))
    timer.start()
    start = time.monotonic()
    cur = table.cursor()
    cur.execute("SELECT id FROM t")  # waits for the lease
    assert time.monotonic() - start < 4
    timer.join()


def test_listen_tells_the_leader_at_once(node):
    c = node.control()
    c.cursor().execute("LISTEN mha_leader")
    wait_for(lambda: c.poll() or c.notifies, "a notification")
    payload = json.loads(c.notifies[0].payload)
    assert payload["self"] is True and payload["address"] == f"127.0.0.1:{node.raft}"
    c.close()


# --- three nodes ---


class Pulse(threading.Thread):
    """Stands in for the control processes: a store that hears nothing from its own gives the leadership away. The generation is too low to
    change any lease."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.ended = nodes, threading.Event()

    def run(self):
        sessions = {}
        while not self.ended.wait(0.15):
            for n in self.nodes:
                try:
                    if n not in sessions:
                        sessions[n] = n.control()
                    sessions[n].cursor().execute("SET mha.lease = '0 0'")
                except psycopg2.Error:
                    sessions.pop(n, None)
        for session in sessions.values():
            session.close()

    def end(self):
        self.ended.set()
        self.join(LIMIT_S)


@pytest.fixture(scope="module", params=["plaintext", "tls"])
def trio(request):
    base = pathlib.Path(tempfile.mkdtemp(prefix="mha-sql3-"))
    nodes = []
    try:
        for i in (1, 2, 3):
            address = f"127.0.0.{10 + i}"
            nodes.append(Node(base, f"n{i}", address, free_ports(address, 3)))
        authority = nodecerts.Authority(base / "ca", "lab") if request.param == "tls" else None
        for n in nodes:
            if authority:
                n.tls = "{mode: files, ca: %s, cert: %s, key: %s}" % authority.issue(n.name, n.address)
            n.configure(nodes)
            n.start()
        first = nodes[0]
        init(first, "relaxed")  # a busy machine must not cause elections that no test asked for
        cluster = first.info()["cluster_uuid"]
        for n in nodes[1:]:
            n.do("CALL mha_join(%s, %s)", cluster, "relaxed")
            member = n.info()
            first.do("CALL mha_add(%s, %s)", member["id"], f"{n.address}:{n.raft}")
            first.do("CALL mha_assign(%s, 'voter')", member["id"])
        wait_for(lambda: all(n.info()["leader_id"] == first.info()["id"] for n in nodes), "everybody to know the leader")
        first.grant()
        pulse = Pulse(nodes)
        pulse.start()
        yield nodes
        pulse.end()
        for n in nodes:
            n.stop()
    finally:
        for n in nodes:
            if n.is_alive():
                n.process.kill()
                n.process.wait()
        shutil.rmtree(base)


def leader_of(nodes):
    return wait_for(lambda: next((n for n in nodes if n.is_alive() and n.info()["is_leader"] == "t"), None), "a leader")


def move(nodes, to):
    """Make another node the leader and give it the lease."""
    leader_of(nodes).do("CALL mha_transfer(%s)", to.info()["id"])
    wait_for(lambda: to.info()["is_leader"] == "t", f"{to.name} to lead")
    to.grant()


def test_any_node_serves_any_client(trio):
    leader = leader_of(trio)
    follower = next(n for n in trio if n is not leader)
    c = follower.tcp()
    c.autocommit = True
    cur = c.cursor()
    cur.execute("CREATE TABLE relayed(id INTEGER PRIMARY KEY, v TEXT)")
    cur.executemany("INSERT INTO relayed(v) VALUES (%s)", [("x" * 1000,)] * 50)
    c.close()
    d = leader.pg3()
    assert len(d.execute("SELECT v FROM relayed").fetchall()) == 50
    d.close()
    big = follower.tcp()
    cur = big.cursor()
    cur.execute("SELECT hex(zeroblob(100000)) || id FROM relayed")
    assert [len(r[0]) for r in cur.fetchall()][0] == 200001
    big.close()


def test_a_client_cannot_pretend_to_be_relayed(trio):
    """Nothing that a startup packet says makes a relayed session: on a follower it would wait for a leadership that does not come."""
    follower = next(n for n in trio if n is not leader_of(trio))
    with socket.create_connection((follower.address, follower.port), timeout=LIMIT_S) as s:
        s.sendall(startup(user="app", database="config", mha_relayed="1"))
        answer = s.recv(4096)
    assert answer[:1] == b"E" and b"mha_relayed" in answer
    if follower.tls != "{mode: insecure-plaintext}":  # and the nodes' port wants a certificate first
        with socket.create_connection((follower.address, follower.raft), timeout=LIMIT_S) as s:
            s.sendall(b"MHASQL1\n" + startup(user="app", database="config"))
            assert b"R\0\0\0\x08\0\0\0\0" not in s.recv(4096)


def test_an_admin_on_a_follower_is_told_who_leads(trio):
    leader = leader_of(trio)
    follower = next(n for n in trio if n is not leader)
    c = follower.local()
    cur = c.cursor()
    with pytest.raises(psycopg2.Error, match=f"the leader is {leader.address}:{leader.raft}"):
        cur.execute("SELECT 1")
    c.close()
    members = follower.do("SHOW mha.members")
    assert len(members) == 3 and all(m[2] == "voter" for m in members)


def test_a_change_of_the_leader_is_seen_by_everybody(trio):
    leader = leader_of(trio)
    target, third = [n for n in trio if n is not leader][:2]
    news = target.control()
    news.cursor().execute("LISTEN mha_leader")
    relayed, direct, busy = third.tcp(), leader.tcp(), leader.tcp()
    for c in (relayed, direct):
        c.autocommit = True
        c.cursor().execute("SELECT 1")
    busy.cursor().execute("CREATE TABLE never(a)")
    move(trio, target)
    with pytest.raises(psycopg2.Error):  # closed, so that it connects again
        relayed.cursor().execute("SELECT 1")
    # While the node knows of no leader at all it says so and waits with the client; then it sends it away.
    wait_for(lambda: code_of(direct.cursor(), "SELECT 1") == "57P01", "the session to be sent away")
    with pytest.raises(psycopg2.Error):
        direct.cursor().execute("SELECT 1")
    assert direct.closed
    assert code_of(busy.cursor(), "SELECT 1") == "40001"
    wait_for(lambda: c_poll(news) and any(json.loads(n.payload)["self"] for n in news.notifies), "news of the leader")
    again = leader.tcp()  # now relayed
    with pytest.raises(psycopg2.Error) as caught:
        again.cursor().execute("SELECT * FROM never")
    assert caught.value.pgcode == "42P01"
    for c in (news, relayed, direct, busy, again):
        c.close()


def c_poll(connection):
    connection.poll()
    return True


def test_a_new_leader_acknowledges_no_write_before_it_holds_the_lease(trio):
    for n in trio:
        n.grant(deadline=1, generation=4)  # in the past
    leader_of(trio).do("CREATE TABLE IF NOT EXISTS ack(id INTEGER PRIMARY KEY)")
    for _ in range(5):  # on a busy machine leadership may move on by itself meanwhile: then once more
        leader = leader_of(trio)
        target = next(n for n in trio if n is not leader)
        leader.do("CALL mha_transfer(%s)", target.info()["id"])
        wait_for(lambda: target.info()["is_leader"] == "t", "the target to lead")
        c = target.tcp()
        c.autocommit = True
        with pytest.raises(psycopg2.Error) as caught:
            c.cursor().execute("INSERT INTO ack VALUES (1)")
        if caught.value.pgcode != "57P01":
            break
    assert caught.value.pgcode in ("57P03", "08007") and "no lease" in str(caught.value)
    target.do("INSERT INTO ack VALUES (2)")  # the control session is exempt
    target.grant(generation=5)
    c.cursor().execute("INSERT INTO ack VALUES (3)")
    c.close()


def test_acknowledged_rows_survive_the_leaders_death(trio):
    leader = leader_of(trio)
    leader.grant(generation=6)
    leader.do("CREATE TABLE IF NOT EXISTS kept(id INTEGER PRIMARY KEY)")
    others = [n for n in trio if n is not leader]
    acked, stop = [], threading.Event()

    def keep_granting():
        while not stop.is_set():
            for n in others:
                try:
                    n.grant(generation=7)
                except psycopg2.Error:
                    pass
            stop.wait(0.1)

    def write():
        key = 0
        while not stop.is_set():
            try:
                c = others[key % 2].pg3(connect_timeout=5)
                while not stop.is_set():
                    key += 1
                    c.execute("INSERT INTO kept VALUES (%s)", (key,))
                    acked.append(key)
            except psycopg.Error:
                stop.wait(0.02)

    threads = [threading.Thread(target=keep_granting), threading.Thread(target=write)]
    [t.start() for t in threads]
    wait_for(lambda: len(acked) > 50, "some rows")
    leader.process.kill()
    leader.process.wait()
    before = len(acked)
    wait_for(lambda: len(acked) > before + 50, "writes to go on")
    stop.set()
    [t.join(LIMIT_S) for t in threads]
    new = leader_of(others)
    rows = {r[0] for r in new.do("SELECT id FROM kept")}
    assert set(acked) <= rows
    leader.start()
