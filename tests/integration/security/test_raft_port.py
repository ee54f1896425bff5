"""The nodes' port 7401 (mha-stored) against whoever should not get in, while a client goes on writing: strangers are refused, the log says so
once, and no acknowledged write is late for it or lost. Three real nodes with TLS on loopback.

Run: /usr/bin/python3 -m pytest tests/integration/security
"""
import os
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[i]) for i in (1,)] + [str(pathlib.Path(__file__).resolve().parents[2] / "lib")]
import nodecerts  # noqa: E402
from writer import Writer  # noqa: E402
from test_store_sql import LIMIT_S, STORED, Node, Pulse, free_ports, init, leader_of, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not STORED.exists(), reason=f"{STORED} is not built (MHA_BIN)")

STRANGER = "127.0.0.77"  # where the attacks come from
GAP_S = 5.0              # the longest pause of the writer that is no harm: an election would be longer than this on no machine that works
SQL = b"MHASQL1\n"


@pytest.fixture(scope="module")
def cluster():
    base = pathlib.Path(tempfile.mkdtemp(prefix="mha-raft-port-"))
    nodes = []
    try:
        authority = nodecerts.Authority(base / "ca", "lab")
        for i in (1, 2, 3):
            address = f"127.0.0.{50 + i}"
            n = Node(base, f"n{i}", address, free_ports(address, 3))
            n.tls = "{mode: files, ca: %s, cert: %s, key: %s}" % authority.issue(n.name, n.address)
            nodes.append(n)
        for n in nodes:
            n.configure(nodes)
            n.start()
        init(nodes[0], "relaxed")
        uuid = nodes[0].info()["cluster_uuid"]
        for n in nodes[1:]:
            n.do("CALL mha_join(%s, %s)", uuid, "relaxed")
            nodes[0].do("CALL mha_add(%s, %s)", n.info()["id"], f"{n.address}:{n.raft}")
            nodes[0].do("CALL mha_assign(%s, 'voter')", n.info()["id"])
        wait_for(lambda: len({n.info()["leader_id"] for n in nodes}) == 1, "everybody to know the leader")
        nodes[0].grant()
        pulse = Pulse(nodes)
        pulse.start()
        nodes[0].do("CREATE TABLE w(id INTEGER PRIMARY KEY)")
        yield nodes, authority, base
        pulse.end()
        for n in nodes:
            n.stop()
    finally:
        for n in nodes:
            if n.is_alive():
                n.process.kill()
                n.process.wait()
        shutil.rmtree(base)


@pytest.fixture(autouse=True)
def unharmed(cluster):
    """Around every attack: a writer that must not notice it, and a leader that must not change."""
    nodes = cluster[0]
    nodes[0].do("DELETE FROM w")
    before = leader_of(nodes).name
    writer = Writer(lambda: nodes[1].tcp(connect_timeout=10))
    writer.start()
    wait_for(lambda: len(writer.acked) > 20, "the writer to write")
    yield
    count = len(writer.acked)
    wait_for(lambda: len(writer.acked) > count + 20, "the writer to go on")
    writer.end()
    assert not writer.errors and writer.gap_s < GAP_S, (writer.errors[:3], writer.gap_s)
    assert leader_of(nodes).name == before
    assert {r[0] for r in nodes[0].do("SELECT id FROM w")} >= set(writer.acked)
    assert all(n.is_alive() for n in nodes)


def connect(node, source=STRANGER):
    return socket.create_connection((node.address, node.raft), timeout=LIMIT_S, source_address=(source, 0))


def context(paths=None):
    """A client that trusts everybody and shows what it is given."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if paths:
        c.load_cert_chain(paths[1], paths[2])
    return c


def is_refused(node, ctx, first=SQL, source=STRANGER):
    """True when nothing but the end (or an alert) comes back."""
    try:
        with ctx.wrap_socket(connect(node, source)) as s:
            s.sendall(first + startup())
            return s.recv(4096) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def startup():
    body = (196608).to_bytes(4, "big") + b"user\0app\0database\0config\0\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def count_lines(node, *words):
    return sum(all(w in line for w in words) for line in node.log_text().splitlines())


def refused_once(node, ctx, reason, source):
    before = count_lines(node, source, reason)
    assert before == 0
    for _ in range(5):
        assert is_refused(node, ctx, source=source)
    wait_for(lambda: count_lines(node, source, reason) > 0, f"the log to say \"{reason}\"")
    assert count_lines(node, source, reason) == 1


def test_a_node_of_the_cluster_gets_in(cluster):
    """What the refusals below are worth: the same client with a good certificate is served."""
    nodes, authority, _ = cluster
    ctx = context(authority.issue("n9", STRANGER))
    with ctx.wrap_socket(connect(leader_of(nodes))) as s:
        s.sendall(SQL + startup())
        assert s.recv(4096)[:1] == b"R"


def test_plain_bytes_are_refused_and_logged_once(cluster):
    node = leader_of(cluster[0])
    for payload in (SQL + startup(), (1).to_bytes(8, "little"), b"GET / HTTP/1.1\r\n\r\n", bytes(8)):
        for _ in range(3):
            with connect(node, "127.0.0.71") as s:
                s.sendall(payload)
                answer = s.recv(4096)
                assert answer[:1] in (b"", b"\x15")  # nothing, or a TLS alert
    assert 1 <= count_lines(node, "127.0.0.71") <= 4  # one for each reason that OpenSSL tells apart


def test_certificates_that_do_not_count_are_refused_and_logged_once(cluster):
    nodes, authority, base = cluster
    node = leader_of(nodes)
    other = nodecerts.Authority(base / "other", "lab")
    refused_once(node, context(), "did not return a certificate", "127.0.0.72")
    refused_once(node, context(other.issue("n1", STRANGER)), "not accepted", "127.0.0.73")
    refused_once(node, context(authority.issue("n8", STRANGER, days="-1")), "expired", "127.0.0.74")
    refused_once(node, context(authority.issue("ann", STRANGER, unit="mha4rdb-admin")), "administrator", "127.0.0.75")


def test_a_dead_nodes_place_is_not_taken_by_another_name(cluster):
    """Somebody with a good certificate of another name listens where a node is looked for: nobody talks to it."""
    nodes, authority, _ = cluster
    follower, victim = [n for n in nodes if n is not leader_of(nodes) and n is not nodes[1]][0], leader_of(nodes)
    follower.stop()
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*authority.issue("n7", follower.address)[1:])
    ctx.load_verify_locations(authority.ca)
    ctx.verify_mode = ssl.CERT_REQUIRED
    got = []
    with socket.create_server((follower.address, follower.raft)) as server:
        server.settimeout(LIMIT_S)
        raw, _ = server.accept()
        raw.settimeout(LIMIT_S)
        try:
            with ctx.wrap_socket(raw, server_side=True) as s:
                got.append(s.recv(4096))
        except (ssl.SSLError, ConnectionError):
            got.append(b"")
    assert got == [b""]
    wait_for(lambda: count_lines(victim, f'\\"{follower.name}\\" was expected') > 0, "the log to name both")
    follower.start()


def test_oversized_and_truncated_frames_close_their_own_connection_only(cluster):
    nodes, authority, _ = cluster
    node = leader_of(nodes)
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print("seed", seed)
    hello = b"\x16\x03\x01"
    for payload in (hello + b"\xff\xff" + bytes(70000), hello + b"\x00\x10", hello + b"\x00\x00", b"\x17\x03\x03\x40\x01" + bytes(20000),
                    *(hello + len(r).to_bytes(2, "big") + r for r in (rng.randbytes(rng.randrange(1, 9000)) for _ in range(20)))):
        with connect(node) as s:
            try:
                s.sendall(payload)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            except OSError:  # closed already
                pass
    ctx = context(authority.issue("n9", STRANGER))  # a node's own certificate, and nonsense for raft and for SQL
    for first in (b"\xff" * 8, (1).to_bytes(8, "little") + b"\xff" * 64, SQL + b"\x7f\xff\xff\xff", SQL + rng.randbytes(4096), SQL[:5]):
        with ctx.wrap_socket(connect(node)) as s:
            s.sendall(first)
            s.settimeout(0.2)
            try:
                s.recv(4096)
            except (TimeoutError, ssl.SSLError, ConnectionError):
                pass


def test_slow_handshakes_end_in_time(cluster):
    """One byte of a real ClientHello at a time: the limit is for the whole handshake, not between two bytes."""
    node = leader_of(cluster[0])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()
    hello, began = outgoing.read(), time.monotonic()
    with connect(node) as s:
        s.settimeout(0.2)
        for i in range(len(hello) - 1):
            try:
                s.sendall(hello[i:i + 1])
                if s.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection was never closed")
    assert time.monotonic() - began < LIMIT_S


def test_a_thousand_half_open_connections_keep_no_node_out(cluster):
    nodes, _, _ = cluster
    sockets = []
    try:
        for i in range(1000):
            sockets.append(connect(nodes[i % 3], "127.0.0.76"))
            if i % 2:
                try:
                    sockets[-1].sendall(b"\x16\x03\x01\x02\x00")  # half of a ClientHello
                except ConnectionError:
                    pass
        restarted = next(n for n in nodes if n is not leader_of(nodes) and n is not nodes[1])
        restarted.stop()  # it has to get in again, both ways, while the others still hold their silent guests
        restarted.start()
        wait_for(lambda: restarted.info()["leader_id"] == leader_of(nodes).info()["id"], "the restarted node to hear the leader")
    finally:
        for s in sockets:
            s.close()
    node = nodes[0]
    assert count_lines(node, "127.0.0.76", "too many connections") == 1


def test_without_its_certificate_a_member_does_not_start(cluster):
    nodes, _, _ = cluster
    node = next(n for n in nodes if n is not leader_of(nodes) and n is not nodes[1])
    key = node.tls.split("key: ")[1].rstrip("}")
    node.stop()
    os.chmod(key, 0o644)
    done = subprocess.run([STORED, "--config", node.dir / "node.yaml"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 78 and f"chmod 600 {key}" in done.stderr
    os.rename(key, key + ".away")
    done = subprocess.run([STORED, "--config", node.dir / "node.yaml"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 78 and f"{key} does not exist" in done.stderr
    os.rename(key + ".away", key)
    os.chmod(key, 0o600)
    node.start()
