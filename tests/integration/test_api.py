"""The API of real nodes with certificates: who may ask what, and that any node answers what only the controller knows."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from lab import REPO, wait_for

ADDRESSES = {"n1": "127.0.83.1", "n2": "127.0.83.2", "n3": "127.0.83.3"}


def programs():
    for folder in (os.environ.get("MHA_BIN"), REPO + "/build/release/bin", REPO + "/build/dev/bin"):
        if folder and os.access(folder + "/mhad", os.X_OK):
            return os.path.abspath(folder)
    pytest.skip("mhad is not built")


class Host:
    """A fresh host on loopback, mode managed."""

    def __init__(self, folder, name, more=""):
        self.name, self.address, self.dir = name, ADDRESSES[name], str(folder / name)
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o755)
        self.socket = self.dir + "/run/api.sock"
        with open(self.dir + "/node.yaml", "w") as f:
            f.write("cluster: lab\nnode: %s\naddress: %s\nstate_dir: %s/state\nrun_dir: %s/run\nprofile: fast\n" % (name, self.address, self.dir, self.dir)
                    + more.replace("{address}", self.address))
        self.log_file = open(self.dir + "/log", "a")
        self.process = subprocess.Popen([programs() + "/mhad", "--config", self.dir + "/node.yaml"], stdin=subprocess.DEVNULL, stdout=self.log_file,
                                        stderr=self.log_file)
        wait_for("the API's socket of " + name, lambda: os.path.exists(self.socket))

    def log(self):
        with open(self.dir + "/log") as f:
            return f.read()

    def shell(self, *words, node=None, tls_dir="/nonexistent"):
        return subprocess.run([programs() + "/mha-shell", "--node", node or "unix:" + self.socket, "--tls-dir", tls_dir, "-y", *words],
                              capture_output=True, text=True, timeout=120, check=False)

    def curl(self, path, *more):
        done = subprocess.run(["curl", "-sk", "-m", "10", "-w", "\n%{http_code}", "https://%s:7400%s" % (self.address, path), *more],
                              capture_output=True, text=True, timeout=30, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.log_file.close()


@pytest.fixture(name="folder", scope="module")
def short_folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mha"))  # short: sockets are made below it
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="hosts", scope="module")
def three_hosts(folder, request):
    hosts = [Host(folder, n, getattr(request.module, "MORE", "")) for n in ADDRESSES]
    try:
        assert "stays closed" in wait_for("the reason of the closed port", lambda: "stays closed" in hosts[0].log() and hosts[0].log())
        wait_for("a cluster of one", lambda: hosts[0].shell("cluster", "init").returncode == 0)
        for h in hosts[1:]:
            def token():
                done = hosts[0].shell("node", "add", h.name)
                return done.stdout.strip() if done.returncode == 0 else None
            done = subprocess.run([programs() + "/mhad", "join", "-", "--config", h.dir + "/node.yaml"], input=wait_for("a token", token),
                                  capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        wait_for("three voters", lambda: len(voters(hosts[0])) == 3)
        yield hosts
    finally:
        for h in hosts:
            h.stop()


@pytest.fixture(name="admin", scope="module")
def an_admin(hosts, folder):
    where = str(folder / "alice")
    done = hosts[1].shell("cert", "issue", "alice", "--out", where)  # n2 is asked, the controller issues
    assert done.returncode == 0, done.stderr
    return where


def status(h, **more):
    done = h.shell("-f", "json", "cluster", "status", **more)
    return json.loads(done.stdout) if done.returncode == 0 else None


def voters(h):
    found = status(h)
    return [n["name"] for n in found["nodes"] if n["role"] == "voter" and n["state"] == "online"] if found else []


def test_every_node_answers_what_only_the_controller_knows(hosts):
    seen = [wait_for("an answer of " + h.name, lambda: status(h)) for h in hosts]
    assert [s["leader"] for s in seen] == [seen[0]["leader"]] * 3
    assert all(s["quorum"] for s in seen)
    assert all(len(h.shell("-f", "json", "cluster", "events").stdout) > 10 for h in hosts)
    # refusals come through as they were said
    said = {(done.returncode, done.stderr) for done in (h.shell("group", "pause", "nowhere") for h in hosts)}
    assert len(said) == 1 and next(iter(said))[0] != 0


def test_an_administrator_asks_any_node_over_tls(hosts, admin):
    for h in hosts:
        found = status(h, node="https://%s:7400" % h.address, tls_dir=admin)
        assert found is not None and found["cluster"] == "lab"


def test_without_a_certificate_nothing_is_told(hosts):
    for h in hosts:
        for path in ("/v1/status", "/v1/nodes", "/v1/events", "/v1/certs", "/metrics", "/health", "/"):
            code, body = h.curl(path)
            assert code == 401 and body["error"] == "refused", (path, code, body)
        assert h.curl("/v1/cluster/init", "-d", "{}")[0] == 401
        assert h.curl("/v1/groups/main/failover", "-d", "{}")[0] == 401


def test_a_nodes_certificate_is_not_an_administrators(hosts):
    pair = ["--cert", hosts[1].dir + "/state/tls/node.pem", "--key", hosts[1].dir + "/state/tls/node.key"]
    assert hosts[0].curl("/health", *pair)[0] == 200
    code, body = hosts[0].curl("/v1/status", *pair)
    assert code == 403 and "n2" in body["message"]


def test_another_user_of_the_host_is_refused_at_the_socket(hosts):
    if os.geteuid() != 0:
        pytest.skip("takes root to become somebody else")
    done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "curl", "-s", "--unix-socket", hosts[0].socket, "http://x/v1/status"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert "user nobody may not administer this node" in done.stdout


def test_when_the_controller_is_gone_the_others_say_so_and_then_know_the_next(hosts):
    leader = status(hosts[0])["leader"]
    gone = next(h for h in hosts if h.name == leader)
    left = [h for h in hosts if h is not gone]
    gone.stop()
    for h in left:
        found = wait_for("the next controller", lambda: status(h))
        assert found["leader"] != leader
