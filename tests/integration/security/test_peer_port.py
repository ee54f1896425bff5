"""The peer port 7400 (mhad) of real nodes with certificates against whoever should not get in: refused, told once, the cluster unharmed."""

import pathlib
import socket
import ssl
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[2] / "lib")]
import nodecerts  # noqa: E402
from lab import wait_for  # noqa: E402
from test_api import short_folder, status, three_hosts, voters  # noqa: E402,F401

LIMIT_S = 20


@pytest.fixture(autouse=True)
def unharmed(hosts):
    before = wait_for("the cluster to be healthy", lambda: status(hosts[0]))
    yield
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
