"""The peer port 7400 (mhad) of real nodes with certificates against whoever should not get in: refused, told once, the cluster unharmed."""

import base64
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import time

import psycopg2
import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[2] / "lib")]
import nodecerts  # noqa: E402
from lab import wait_for  # noqa: E402
from test_api import programs, short_folder, status, three_hosts, voters  # noqa: E402,F401
from writer import Writer  # noqa: E402

LIMIT_S = 20
GAP_S = 5.0  # of the writer, as in test_raft_port.py
MORE = "sql: {auth: insecure-trust, listen: {address}}\n"


def store(host):
    connection = psycopg2.connect(host=host.address, port=5433, dbname="config", user="app", connect_timeout=10)
    connection.autocommit = True
    return connection


@pytest.fixture(name="writing", scope="module")
def a_table(hosts):
    def create():
        try:
            store(hosts[1]).cursor().execute("CREATE TABLE IF NOT EXISTS w(id INTEGER PRIMARY KEY)")
            return True
        except psycopg2.Error:
            return False
    wait_for("the store", create)


@pytest.fixture(autouse=True)
def unharmed(hosts, writing):
    """Around every attack: a writer that must not notice it, a controller that must not change."""
    before = wait_for("the cluster to be healthy", lambda: status(hosts[0]))
    store(hosts[1]).cursor().execute("DELETE FROM w")
    writer = Writer(lambda: store(hosts[1]))
    writer.start()
    wait_for("the writer to write", lambda: len(writer.acked) > 20)
    yield
    count = len(writer.acked)
    wait_for("the writer to go on", lambda: len(writer.acked) > count + 20)
    writer.end()
    assert not writer.errors and writer.gap_s < GAP_S, (writer.errors[:3], writer.gap_s)
    cursor = store(hosts[1]).cursor()
    cursor.execute("SELECT id FROM w")
    assert {r[0] for r in cursor.fetchall()} >= set(writer.acked)
    wait_for("three voters that are still there", lambda: len(voters(hosts[0])) == 3)
    after = status(hosts[0])
    assert (after["leader"], after["generation"]) == (before["leader"], before["generation"])
    assert all(h.process.poll() is None for h in hosts)


def connect(host, source):
    return socket.create_connection((host.address, 7400), timeout=LIMIT_S, source_address=(source, 0))


def context(paths=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if paths:
        c.load_cert_chain(paths[1], paths[2])
    return c


UPGRADE = (b"GET /v1/peer HTTP/1.1\r\nHost: n1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mha-peer-1\r\n\r\n")


def answer(host, ctx, data, source):
    """What comes back: b"" when it is nothing but the end."""
    try:
        with ctx.wrap_socket(connect(host, source)) as s:
            s.sendall(data)
            return s.recv(4096)
    except (ssl.SSLError, OSError):
        return b""


def test_a_node_is_answered(hosts):
    """What the refusals below are worth: the same request with a node's certificate makes a link."""
    pair = (None, hosts[2].dir + "/state/tls/node.pem", hosts[2].dir + "/state/tls/node.key")
    assert b" 101 " in answer(hosts[0], context(pair), UPGRADE, "127.0.83.72")


def test_plain_bytes_get_no_answer(hosts):
    for data in (UPGRADE, b"GET /v1/status HTTP/1.1\r\n\r\n", bytes(100)):
        with connect(hosts[0], "127.0.83.71") as s:
            s.sendall(data)
            try:
                assert b"HTTP" not in s.recv(4096)
            except ConnectionError:
                pass


def test_certificates_of_others_make_no_link(hosts, folder):
    other = nodecerts.Authority(str(folder / "other"), "lab")
    for ctx in (context(), context(other.issue("n2", "127.0.83.72")), context(other.issue("n3", "127.0.83.72", days="-1"))):
        for _ in range(3):
            assert b" 101 " not in answer(hosts[0], ctx, UPGRADE, "127.0.83.72")


def test_a_thousand_half_open_connections_keep_no_node_out(hosts):
    sockets = []
    try:
        for i in range(1000):
            sockets.append(connect(hosts[i % 3], "127.0.83.76"))
            if i % 2:
                try:
                    sockets[-1].sendall(b"\x16\x03\x01\x02\x00")
                except ConnectionError:
                    pass
        assert wait_for("an answer through the crowd", lambda: hosts[0].curl("/health")[0] == 401)
        for h in hosts:
            assert wait_for("the controller's answer over a link", lambda h=h: status(h))["quorum"]
    finally:
        for s in sockets:
            s.close()


def count_lines(host, *words):
    return sum(all(w in line for w in words) for line in host.log().splitlines())


def node_context(hosts):
    return context((None, hosts[2].dir + "/state/tls/node.pem", hosts[2].dir + "/state/tls/node.key"))


def frame(payload, opcode=1, is_final=True, length=None, is_masked=True):
    """As a client sends it, with a mask that changes nothing."""
    n = len(payload) if length is None else length
    size = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2, "big") if n < 65536 else b"\x7f" + n.to_bytes(8, "big")
    return bytes([opcode | 0x80 * is_final, size[0] | 0x80 * is_masked]) + size[1:] + bytes(4 * is_masked) + payload


def upgraded(hosts, source):
    """A WebSocket to n1 with n3's certificate, before anything is said on it."""
    s = node_context(hosts).wrap_socket(connect(hosts[0], source))
    s.sendall(UPGRADE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(1)
    assert b" 101 " in head
    return s


def drain(s):
    """Everything up to the end; fails when there is none."""
    data = b""
    s.settimeout(LIMIT_S)
    try:
        while piece := s.recv(65536):
            data += piece
    except TimeoutError:
        pytest.fail("the connection stays open")
    except (ssl.SSLError, OSError):
        pass
    s.close()
    return data


def test_a_node_cannot_take_another_ones_name(hosts):
    source = "127.0.83.77"
    for name, reason in (("n2", "its certificate is for"), ("n8", "is not among"), ("n1", "is this node's own")):
        for _ in range(3):
            with upgraded(hosts, source) as s:
                s.sendall(frame(json.dumps({"node": name, "hello": {}}).encode()))
                assert b'"refused"' in drain(s)
        assert count_lines(hosts[0], "refused " + source, reason) == 1, reason


def test_an_administrators_certificate_makes_no_link(hosts, folder):
    assert hosts[0].shell("cert", "issue", "eve", "--out", str(folder / "eve")).returncode == 0
    ctx = context((None, str(folder / "eve" / "admin.pem"), str(folder / "eve" / "admin.key")))
    for _ in range(3):
        assert b" 101 " not in answer(hosts[0], ctx, UPGRADE, "127.0.83.78")
    assert count_lines(hosts[0], "refused 127.0.83.78", "takes a node's certificate") == 1


def test_bad_frames_close_their_own_connection_only(hosts):
    piece = bytes(60000)
    bad = [frame(b"x", length=2**63 - 1), frame(piece, is_final=False) + frame(piece, 0, False) * 5, frame(b"x", is_masked=False), frame(b"x", 3),
           frame(b"{}", 2), frame(b"\xff\xfe"), frame(b"{}"), frame(b"[" * 50000), frame(b"", 9) * 1000, frame(b"x", 0), frame(b"abc", length=60000), b"\x81"]
    sockets = []
    for data in bad:
        sockets.append(upgraded(hosts, "127.0.83.79"))
        try:
            sockets[-1].sendall(data)
        except OSError:
            pass
    for s in sockets:
        drain(s)
    assert count_lines(hosts[0], "127.0.83.79", "is no hello") <= 1


def test_bad_requests_close_their_own_connection_only(hosts):
    head = b"POST /v1/join HTTP/1.1\r\nHost: x\r\n"
    bad = [b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", head + b"X: y\r\n" * 20000, head + b"Content-Length: 10\r\n\r\nabc",
           head + b"Content-Length: -1\r\n\r\n", head + b"Content-Length: 999999999999999999\r\n\r\n" + bytes(70000),
           head + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", bytes(5000), b"GET / HTTP/9.9\r\n\r\n", head[:20],
           b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 500]
    sockets = []
    for data in bad:
        sockets.append(context().wrap_socket(connect(hosts[0], "127.0.83.80")))
        try:
            sockets[-1].sendall(data)
        except OSError:
            pass
    for s in sockets:
        try:
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        drain(s)


def test_slow_guests_end_in_time(hosts):
    """A byte at a time, of a ClientHello, of a request and of an upgrade: the limit is for the whole, not between two bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context().wrap_bio(incoming, outgoing).do_handshake()
    slow = [(connect(hosts[0], "127.0.83.81"), outgoing.read()),
            (context().wrap_socket(connect(hosts[0], "127.0.83.81")), b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 100),
            (node_context(hosts).wrap_socket(connect(hosts[0], "127.0.83.81")), UPGRADE)]
    began, i = time.monotonic(), 0
    for s, _ in slow:
        s.settimeout(0.02)
    while slow:
        assert time.monotonic() - began < LIMIT_S, "%d connections were never closed" % len(slow)
        for s, data in list(slow):
            try:
                s.sendall(data[i:i + 1])
                is_over = s.recv(1) == b""
            except TimeoutError:
                is_over = False
            except (ssl.SSLError, OSError):
                is_over = True
            if is_over:
                s.close()
                slow.remove((s, data))
        i += 1
        assert i < 180, "all was said before the limit"
        time.sleep(0.05)


def join_body(token, **changes):
    body = token.partition(".")[2]
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return json.dumps(dict({"id": said["id"], "secret": said["secret"], "request": "", "address": "127.0.83.9", "role": "data", "peer_port": 7400,
                            "raft_port": 7401, "sql_port": 5433}, **changes))


def refused(host, body):
    """What /v1/join says; it listens to five a second."""
    def post():
        status_code, said = host.curl("/v1/join", "-d", body)
        return None if status_code == 429 else (status_code, said["message"])
    return wait_for("an answer", post, every=0.3)


def test_tokens_that_do_not_count_let_nobody_in(hosts, folder):
    os.mkdir(folder / "n4")
    config = folder / "n4" / "node.yaml"
    config.write_text("cluster: lab\nnode: n4\naddress: 127.0.83.4\nstate_dir: %s/n4/state\nrun_dir: %s/n4/run\n" % (folder, folder))
    used = hosts[0].shell("node", "add", "n4").stdout.strip()
    done = subprocess.run([programs() + "/mhad", "join", "-", "--config", str(config)], input=used, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    expired = hosts[0].shell("node", "add", "n5", "--ttl", "1s").stdout.strip()
    withdrawn, good = (hosts[0].shell("node", "add", "n6").stdout.strip() for _ in range(2))
    time.sleep(1.1)
    names = {n["name"] for n in status(hosts[0])["nodes"]}
    said = {refused(h, join_body(t)) for t in (used, expired, withdrawn) for h in hosts[:2]} | {refused(hosts[0], join_body(good, secret="0" * 64))}
    assert len(said) == 1 and next(iter(said))[0] == 403, said
    assert {n["name"] for n in status(hosts[0])["nodes"]} == names
