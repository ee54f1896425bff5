"""Whatever arrives from outside - garbage on any port, wrong files, wrong words - is refused with a reason, and nobody dies of it."""

import json
import os
import random
import signal
import struct
import subprocess
import time
from http.client import HTTPConnection

import pytest

from lab import LAB, Lab

pytestmark = pytest.mark.lab
PROGRAMS = ("mhad", "mha-stored", "mha-dbd", "mha-vipd")
PORTS = (7400, 7401, 5433)


@pytest.fixture(scope="module", name="lab")
def one_node():
    with Lab(nodes=1, engine="none") as lab:
        lab.store_sql("CREATE TABLE bad (id INTEGER PRIMARY KEY, text TEXT) STRICT")
        yield lab


@pytest.fixture(autouse=True)
def nobody_dies(request, lab):
    """Around every test: the same processes, and the store takes writes."""
    before = {p: lab.pids("n1", p) for p in PROGRAMS}
    yield
    assert {p: lab.pids("n1", p) for p in PROGRAMS} == before
    lab.store_sql("INSERT INTO bad (text) VALUES ('%s')" % request.node.name.replace("'", "")[:60])
    assert lab.status()["quorum"] is True


def startup(*words, version=196608):
    body = struct.pack("!I", version) + b"".join(w.encode() + b"\0" for w in words) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def message(kind, body=b"", length=None):
    return kind + struct.pack("!I", len(body) + 4 if length is None else length) + body


HELLO = startup("user", "app", "database", "config")
NOISE = random.Random(20240607).randbytes(65536)

GARBAGE = {
    "nothing": b"",
    "zeros": bytes(4096),
    "noise": NOISE,
    "half a request": b"GET /v1/clus",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 300000,
    "a request smuggled in": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
    "a negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a websocket that is none": b"GET /v1/peer HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"
                                b"Sec-WebSocket-Version: 13\r\n\r\n" + NOISE[:512],
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + NOISE[:196],
    "a startup of 4 GiB": struct.pack("!II", 0xFFFFFFFF, 196608),
    "a startup of 0 bytes": struct.pack("!II", 0, 196608),
    "a startup of an unknown version": startup("user", "app", version=0x00990000),
    "a startup without a user": startup("database", "config"),
    "a startup without its last zero": struct.pack("!II", 12, 196608) + b"user",
    "a name of 9000 letters": startup("user", "u" * 9000, "database", "config"),
    "a cancel of nobody": struct.pack("!IIII", 16, 80877102, 1, 2),
    "two SSL requests and noise": struct.pack("!II", 8, 80877103) * 2 + NOISE[:100],
    "a query of 4 GiB": HELLO + message(b"Q", b"SELECT 1\0", 0xFFFFFFFF),
    "a query of 0 bytes": HELLO + message(b"Q", b"", 0),
    "a query without its zero": HELLO + message(b"Q", b"SELECT 1"),
    "an unknown message": HELLO + message(b"!", b"what"),
    "a bind of nothing": HELLO + message(b"B", b"\0nothing\0\0\0\0\0\0\0") + message(b"S"),
    "a bind that promises more than it has": HELLO + message(b"P", b"\0SELECT $1\0\0\0") + message(b"B", b"\0\0\0\0\x7f\xff") + message(b"S"),
    "a parse of broken UTF-8": HELLO + message(b"P", b"\0SELECT '\xff\xfe'\0\0\0") + message(b"S"),
    "copy data out of the blue": HELLO + message(b"d", NOISE[:2000]) + message(b"c"),
    "a dqlite hello and noise": struct.pack("<Q", 1) + NOISE[:4096],
    "a raft hello and noise": struct.pack("<QQQ", 1, 1, 8) + NOISE[:4096],
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_harms_nobody(lab, port, name):
    with lab.connect("n1", port) as sock:
        try:
            sock.sendall(GARBAGE[name])
            sock.settimeout(0.3)
            while sock.recv(65536):
                pass
        except OSError:
            pass  # closed or silent: both are fine, the fixture looks at what matters


@pytest.mark.parametrize("port", PORTS)
def test_two_hundred_idle_connections_do_not_keep_a_client_out(lab, port):
    idle = [lab.connect("n1", port) for _ in range(200)]
    try:
        assert lab.store_sql("SELECT 1") == "1"
        assert lab.status()["quorum"] is True
    finally:
        for sock in idle:
            sock.close()


@pytest.mark.parametrize("statement", [
    "ATTACH '/tmp/elsewhere.db' AS other", "DETACH main", "PRAGMA journal_mode = DELETE", "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA writable_schema = ON", "VACUUM", "VACUUM INTO '/tmp/copy.db'", "SELECT load_extension('x')",
    "DELETE FROM sqlite_schema", "DROP TABLE sqlite_sequence", "SELECT * FROM nowhere", "INSERT INTO bad (id) VALUES ('no number')",
    "SELEC 1", "SELECT 'never ends", "", ";;;", "COMMIT", "SELECT randomblob(2000000000)",
])
def test_a_harmful_statement_is_refused_and_the_session_goes_on(lab, statement):
    done = lab.run("client", "psql", "-XqAt", "host=%s port=%s user=app dbname=config connect_timeout=3" % (lab.vip, lab.env["LAB_SQL_PORT"]),
                   "-c", statement, "-c", "SELECT 40 + 2", check=False)
    assert done.stdout.splitlines()[-1:] == ["42"], done.stderr


def test_a_statement_without_end_keeps_nobody_out_and_can_be_cancelled(lab):
    endless = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT n FROM x WHERE n < 0"
    client = subprocess.Popen([LAB, "--dir", lab.dir, "client", "psql", "-XqAt", "-c", endless,
                               "host=%s port=%s user=app dbname=config" % (lab.vip, lab.env["LAB_SQL_PORT"])], stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1)  # it runs by now; nothing tells from outside
        assert lab.store_sql("SELECT 1") == "1"
        lab.store_sql("INSERT INTO bad (text) VALUES ('meanwhile')")
        assert lab.status()["quorum"] is True
        client.send_signal(signal.SIGINT)  # psql sends a cancel request
        _, said = client.communicate(timeout=20)
        assert "cancel" in said
    finally:
        client.kill()
        client.wait()


@pytest.mark.parametrize("words, code", [
    (["cluster", "initialise"], 2), (["nonsense"], 2), (["cluster", "status", "--no-such-option"], 2), (["group", "switchover"], 2),
    (["-f", "xml", "cluster", "status"], 2), (["-y", "group", "switchover", "nogroup", "--to", "n1"], None),
    (["-y", "cluster", "init"], None),
])
def test_the_shell_refuses_by_name(lab, words, code):
    done = lab.shell("n1", *words, check=False)
    assert done.returncode == code if code else done.returncode in (1, 5)
    assert done.stderr.strip()
    assert done.stdout == ""


def test_the_shell_says_when_nobody_answers(lab):
    done = lab.run("exec", "n1", "mha-shell", "--node", "http://10.77.0.11:9", "cluster", "status", check=False)
    assert done.returncode == 3
    assert "10.77.0.11:9" in done.stderr


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/v1/nothing", ""), ("GET", "/../../etc/passwd", ""), ("GET", "/v1/events?after=yesterday", ""), ("DELETE", "/v1/status", ""),
    ("POST", "/v1/groups/main/switchover", "{"), ("POST", "/v1/groups/main/switchover", '{"to": 7}'), ("POST", "/v1/cluster/init", "[]"),
])
def test_a_wrong_request_gets_a_4xx_and_a_reason(lab, method, path, body):
    http = HTTPConnection("10.77.0.11", 7400)
    http.sock = lab.secure(lab.connect("n1", 7400))
    http.request(method, path, body)
    answer = http.getresponse()
    text = answer.read()
    http.close()
    assert 400 <= answer.status < 500, text
    assert json.loads(text)


GOOD = {"cluster": "lab", "node": "n1", "address": "127.0.0.1", "state_dir": "{dir}/state", "run_dir": "/run/mha-nowhere",
        "tls": {"mode": "insecure-plaintext"}, "nodes": [{"name": "n1", "address": "127.0.0.1"}]}


@pytest.mark.parametrize("change, named", [
    ({"node": "n9"}, "n9"), ({"node": "../n1"}, "node"), ({"address": "somewhere"}, "address"), ({"role": "king"}, "king"),
    ({"ports": {"sql": 70000}}, "sql"), ({"colour": "red"}, "colour"),
    ({"tls": {"mode": "managed"}, "nodes": [{"name": "n1", "address": "127.0.0.1"}, {"name": "n2", "address": "127.0.0.2"}]}, "leave nodes out"),
    ({"nodes": [{"name": "n1", "address": "127.0.0.1"}] * 2}, "n1"), ({"profile": "warp"}, "warp"), ({"state_dir": ""}, "state_dir"),
    ({"run_dir": "/tmp/" + "long" * 40}, "run_dir"), ({"vips": [{"address": "10.0.0.1", "owner": "nobody"}]}, "nobody"),
    ({"instances": [{"group": "main", "engine": "oracle", "data_dir": "/tmp/x", "bin_dir": "/tmp"}]}, "oracle"),
    ({"sql": {"auth": "magic"}}, "magic"),
])
def test_a_wrong_configuration_is_refused_and_named(lab, tmp_path, change, named):
    text = json.dumps(dict(GOOD, **change)).replace("{dir}", str(tmp_path))  # JSON is YAML
    assert_refused(lab, tmp_path, text, named)


@pytest.mark.parametrize("text", ["", "cluster", "cluster: [", "\t- x", "cluster: lab\ncluster: lab2\n", "\0\0\0", "&a [*a]"])
def test_a_file_that_is_no_configuration_is_refused(lab, tmp_path, text):
    assert_refused(lab, tmp_path, text, "node.yaml")


def test_a_missing_configuration_is_named(lab, tmp_path):
    assert_refused(lab, tmp_path, None, "node.yaml")


def assert_refused(lab, tmp_path, text, named):
    path = tmp_path / "node.yaml"
    if text is not None:
        path.write_text(text)
    done = subprocess.run([os.path.join(lab.env["LAB_BIN"], "mhad"), "--config", str(path)], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode > 0
    assert named in done.stderr
