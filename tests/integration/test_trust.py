"""Certificates and joining, on real nodes over loopback: what is let in, what is refused, and what a certificate's change interrupts
(nothing)."""

import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import time

import pytest

from lab import REPO, wait_for

FOLDERS = [os.environ.get("MHA_BIN", ""), REPO + "/build/release/bin", REPO + "/build/dev/bin"]
BIN = next((f for f in FOLDERS if f and os.access(f + "/mhad", os.X_OK)), None)
pytestmark = pytest.mark.skipif(BIN is None, reason="mhad is not built")


class Node:
    """One node on a loopback address of its own."""

    def __init__(self, base, number, ports, tls=""):
        self.dir, self.name, self.address = base / ("n%d" % number), "n%d" % number, "127.0.7.%d" % number
        self.dir.mkdir()
        self.config = self.dir / "node.yaml"
        self.peer_port = ports
        self.config.write_text(
            "cluster: t\nnode: %s\naddress: %s\nports: {peer: %d, raft: %d, sql: %d}\nstate_dir: %s/state\nrun_dir: %s/run\nprofile: fast\n%s"
            % (self.name, self.address, ports, ports + 1, ports + 2, self.dir, self.dir, tls))
        self.log = self.dir / "log"
        self.process = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN + "/mhad", "--config", str(self.config)], stdin=subprocess.DEVNULL, stderr=log)
        wait_for("the API of " + self.name, (self.dir / "run" / "api.sock").exists)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def shell(self, *words, check=True):
        done = subprocess.run([BIN + "/mha-shell", "--node", "unix:%s/run/api.sock" % self.dir, *words], capture_output=True, text=True,
                              timeout=60, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def init(self):
        def done():
            said = self.shell("-y", "cluster", "init", check=False)
            return said.returncode == 0 or "member of a cluster" in said.stderr
        wait_for("cluster init", done)
        wait_for("a controller", lambda: self.shell("cluster", "status", check=False).returncode == 0)

    def invite(self, name, *options):
        return self.shell("node", "add", name, *options).stdout.strip()

    def join(self, token, *options):
        return subprocess.run([BIN + "/mhad", "join", "-", "--config", str(self.config), *options], input=token, capture_output=True, text=True,
                              timeout=90, check=False)

    def certs(self):
        return json.loads(self.shell("-f", "json", "cert", "show").stdout)["certificates"]

    def online(self):
        done = self.shell("-f", "json", "cluster", "status", check=False)
        return sorted(n["name"] for n in json.loads(done.stdout)["nodes"] if n["state"] == "online") if done.returncode == 0 else []


PORTS = iter(range(28400, 29400, 10))


@pytest.fixture(name="make")
def make_nodes():
    base = pathlib.Path(tempfile.mkdtemp(prefix="mha-trust-", dir="/tmp"))  # short: sockets have little room for their paths
    nodes, port = [], next(PORTS)

    def make(number, tls=""):
        nodes.append(Node(base, number, port, tls))
        return nodes[-1]
    yield make
    for node in nodes:
        node.stop()
    shutil.rmtree(base)


@pytest.fixture(name="n1")
def initialised_node(make):
    node = make(1)
    node.init()
    return node


def https_json(node, method, path, body="", admin=None):
    """A request without a certificate, or with an administrator's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if admin:
        context.load_cert_chain(str(admin / "admin.pem"), str(admin / "admin.key"))
    with context.wrap_socket(socket.create_connection((node.address, node.peer_port), 5)) as s:
        s.sendall(("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (method, path, len(body), body)).encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode()


def refusal_of(done, code=5):
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


def test_a_host_joins_with_a_token_once(make, n1):
    n2 = make(2)
    token = n1.invite("n2")
    assert n2.join(token).returncode == 0
    wait_for("both nodes", lambda: n1.online() == ["n1", "n2"])
    assert "already" in refusal_of(n2.join(token))
    n3 = make(3)
    n3.config.write_text(n3.config.read_text().replace("node: n3", "node: n2"))
    stolen = refusal_of(n3.join(token))  # the same token on another host
    assert "it was used, has expired, or was withdrawn" in stolen and "mha-shell node add" in stolen
    assert not (n3.dir / "state" / "tls" / "node.pem").exists()
    assert "member of the cluster already" in refusal_of(n1.shell("node", "add", "n2", check=False))
    assert "the invitation has been used already" in n1.log.read_text()


def test_wrong_tokens_are_refused_with_one_sentence(make, n1):
    n2 = make(2)
    expired = n1.invite("n2", "--ttl", "1s")
    time.sleep(1.1)
    first = refusal_of(n2.join(expired))
    withdrawn = n1.invite("n2")
    good = n1.invite("n2")  # takes the place of the one before
    assert refusal_of(n2.join(withdrawn)) == first
    assert "no token" in refusal_of(n2.join("nonsense"), 2)
    n2.config.write_text(n2.config.read_text().replace("cluster: t\n", "cluster: other\n"))
    assert 'the token is for cluster "t"' in refusal_of(n2.join(good), 2)
    n2.config.write_text(n2.config.read_text().replace("cluster: other\n", "cluster: t\n"))
    assert n2.join(good).returncode == 0




def test_a_token_of_another_ca_is_not_believed(make, n1):
    """Somebody in between, with a certificate of his own: the secret is not told to him."""
    import base64
    token = n1.invite("n2")
    body = json.loads(base64.urlsafe_b64decode(token[5:] + "=" * (-len(token[5:]) % 4)))
    body["ca"] = "0" * 64
    forged = "mha1." + base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    n2 = make(2)
    assert "is not believed" in refusal_of(n2.join(forged))
    assert n2.join(token).returncode == 0  # it was not used up: nobody heard it


def test_without_a_certificate_there_is_only_the_door(n1):
    for method, path in (("GET", "/v1/status"), ("POST", "/v1/nodes"), ("GET", "/v1/certs"), ("POST", "/v1/certs/issue"), ("POST", "/v1/policy"),
                         ("POST", "/v1/certs/renew"), ("POST", "/v1/cluster/init"), ("GET", "/health")):
        assert https_json(n1, method, path, "{}")[0] in (401, 403), path
    wrong = json.dumps({"id": "0" * 16, "secret": "0" * 64, "address": "127.0.7.9", "role": "data", "peer_port": 1, "raft_port": 2, "sql_port": 3})
    status, text = https_json(n1, "POST", "/v1/join", wrong)
    assert status == 403 and "withdrawn" in text
    assert 429 in [https_json(n1, "POST", "/v1/join", wrong)[0] for _ in range(8)]
    assert https_json(n1, "POST", "/v1/join", "[]")[0] in (400, 429)


def test_certificates_are_renewed_while_everything_goes_on(make, n1):
    n2 = make(2)
    assert n2.join(n1.invite("n2")).returncode == 0
    wait_for("both nodes", lambda: n1.online() == ["n1", "n2"])
    pids = {n.name: subprocess.run(["pgrep", "-P", str(n.process.pid)], capture_output=True, text=True, check=True).stdout for n in (n1, n2)}
    before = {c["serial"] for c in n1.certs()}
    n1.shell("cluster", "set", "cert_lifetime_s", "15")
    assert "asked to renew: n1, n2" in n1.shell("cert", "rotate").stderr
    wait_for("a second certificate of each", lambda: len({c["serial"] for c in n1.certs()} - before) >= 2)
    # each is renewed by itself when a third is left: a generation and more later the first short ones have long expired
    wait_for("renewals by themselves", lambda: len([c for c in n1.certs() if c["name"] == "n2" and c["serial"] not in before]) >= 4, 90)
    assert n1.online() == ["n1", "n2"]
    for n in (n1, n2):
        assert subprocess.run(["pgrep", "-P", str(n.process.pid)], capture_output=True, text=True, check=True).stdout == pids[n.name]
    assert n1.log.read_text().count("link with n2 is down") == 0


def test_a_revoked_certificate_is_refused(n1, tmp_path):
    admin = tmp_path / "admin"
    n1.shell("cert", "issue", "ann", "--out", str(admin))
    assert https_json(n1, "GET", "/v1/status", admin=admin)[0] == 200
    serial = next(c["serial"] for c in n1.certs() if c["name"] == "ann")
    n1.shell("-y", "cert", "revoke", serial)

    def is_refused():
        try:
            return https_json(n1, "GET", "/v1/status", admin=admin)[0] in (401, 403)
        except (ssl.SSLError, ConnectionError, IndexError):
            return True
    wait_for("the refusal", is_refused)
    assert "no such certificate" in refusal_of(n1.shell("-y", "cert", "revoke", serial, check=False), 1)
    own = next(c["serial"] for c in n1.certs() if c["name"] == "n1")
    assert "renew it first" in refusal_of(n1.shell("-y", "cert", "revoke", own, check=False))


def test_secrets_are_in_files_of_their_owner_only(n1, tmp_path):
    n1.shell("cert", "issue", "ann", "--out", str(tmp_path / "admin"))
    for path in [*(n1.dir / "state" / "tls").iterdir(), *(tmp_path / "admin").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0, path
    assert stat.S_IMODE((n1.dir / "state" / "tls").stat().st_mode) == 0o700
    assert not (n1.dir / "state" / "tls" / "init.key").exists()
    body = (n1.dir / "state" / "tls" / "node.key").read_text().splitlines()[1]
    assert body not in n1.log.read_text()


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(name="own_ca")
def certificates_of_the_operators_own(tmp_path):
    folder = tmp_path / "pki"
    folder.mkdir()
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj", "/CN=Our CA",
            "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem"))

    def issue(name, days=90):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout",
                str(folder / (name + ".key")), "-out", str(folder / (name + ".csr")))
        (folder / "ext").write_text("extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:%s\n" % name)
        openssl("x509", "-req", "-in", str(folder / (name + ".csr")), "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"),
                "-CAcreateserial", "-days", str(days), "-extfile", str(folder / "ext"), "-out", str(folder / (name + ".pem")))
        os.chmod(folder / (name + ".key"), 0o600)
        return "tls: {mode: files, ca: %s/ca.pem, cert: %s/%s.pem, key: %s/%s.key}\n" % (folder, folder, name, folder, name)
    return issue


def test_own_certificates_are_used_and_watched(make, own_ca):
    n1, n2 = make(1, own_ca("n1", days=20)), make(2, own_ca("n2"))
    n1.init()
    token = n1.invite("n2")
    done = n2.join(token)
    assert done.returncode == 0, done.stderr
    wait_for("both nodes", lambda: n1.online() == ["n1", "n2"])
    assert "issues no certificates" in refusal_of(n1.shell("cert", "rotate", check=False))
    wait_for("the warning", lambda: "the certificate of node n1" in n1.shell("cluster", "events").stdout)
    assert "the certificate of node n2" not in n1.shell("cluster", "events").stdout


def test_an_init_that_failed_can_be_repeated(make):
    node = make(1)
    tls = node.dir / "state" / "tls"
    os.rmdir(tls)
    tls.write_text("in the way")
    refused = node.shell("-y", "cluster", "init", check=False)
    assert refused.returncode != 0 and "tls" in refused.stderr
    tls.unlink()
    tls.mkdir(0o700)
    node.init()
    assert [c["name"] for c in node.certs()] == ["n1"]
