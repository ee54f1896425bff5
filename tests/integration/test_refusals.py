"""What is set up wrongly is said once, by name and with the way out, with a non-zero exit, and nothing is changed. Real programs, no lab unless
a database is needed."""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time
import urllib.request

import pytest

from lab import Lab, REPO, wait_for

PG_BIN = "/usr/lib/postgresql/15/bin"
EX_CONFIG = 78


def programs():
    for folder in (os.environ.get("MHA_BIN"), REPO + "/build/release/bin", REPO + "/build/dev/bin"):
        if folder and os.access(folder + "/mhad", os.X_OK):
            return os.path.abspath(folder)
    pytest.skip("mhad is not built")


class Host:
    """One host on loopback, without virtual addresses; `more` are further lines of its node.yaml."""

    def __init__(self, folder, name, address, nodes, more="", cluster="lab"):
        self.dir, self.address = str(folder / ("%s-%s" % (name, address))), address
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        with open(self.dir + "/node.yaml", "w") as f:
            f.write("cluster: %s\nnode: %s\naddress: %s\nstate_dir: %s/state\nrun_dir: %s/run\nprofile: fast\ntls: {mode: insecure-plaintext}\nnodes:\n" %
                    (cluster, name, address, self.dir, self.dir))
            for n, a in nodes:
                f.write("  - {name: %s, address: %s}\n" % (n, a))
            f.write(more)
        self.process = None

    def start(self):
        self.log_file = open(self.dir + "/log", "a")
        self.process = subprocess.Popen([programs() + "/mhad", "--config", self.dir + "/node.yaml"], stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file)
        return self

    def log(self):
        with open(self.dir + "/log") as f:
            return f.read()

    def exit_code(self, seconds=30):
        return self.process.wait(seconds)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def post(self, path):
        request = urllib.request.Request("http://%s:7400%s" % (self.address, path), data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def init(self):
        def ready():
            try:
                return self.post("/v1/cluster/init")
            except OSError:
                return None
        return wait_for("a cluster of one", ready)


@pytest.fixture
def hosts():
    made = []
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mhr"))  # short: sockets are made below it

    def make(*args, **more):
        made.append(Host(folder, *args, **more))
        return made[-1]

    folder.chmod(0o755)
    yield make
    for h in made:
        h.stop()
    shutil.rmtree(folder)


INSTANCE = "instances:\n  - {group: main, engine: postgresql, bin_dir: %s, data_dir: %s, port: 54399}\n"


def allow_file(host, text):
    path = host.dir + "/vip.allow"
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o644)
    with open(host.dir + "/node.yaml", "a") as f:
        f.write("vip_allow: %s\n" % path)
    return path


def test_an_address_outside_the_allow_list_is_refused(hosts):
    h = hosts("n1", "127.0.81.1", [("n1", "127.0.81.1")], more="vips:\n  - {address: 10.9.8.7, owner: leader}\n")
    path = allow_file(h, "vip 10.9.8.6/32 dev lo\n")
    assert h.start().exit_code() == EX_CONFIG
    assert "10.9.8.7" in h.log() and path in h.log()


def test_a_missing_server_is_named_and_nothing_is_made(hosts):
    h = hosts("n1", "127.0.81.1", [("n1", "127.0.81.1")], more=INSTANCE % ("/nonexistent/bin", "/nonexistent/data"))
    assert h.start().exit_code() == EX_CONFIG
    assert "/nonexistent/bin" in h.log() and "bin_dir" in h.log()
    assert sorted(os.listdir(h.dir)) == ["log", "node.yaml"]


def test_two_hosts_with_one_name_are_told_apart(hosts):
    nodes = [("n1", "127.0.81.1"), ("n2", "127.0.81.2")]
    first, second = hosts("n1", "127.0.81.1", nodes), hosts("n2", "127.0.81.2", nodes)
    first.start().init()
    second.start()
    wait_for("n2 to be a member", lambda: "member of cluster" in second.log())
    twin = hosts("n1", "127.0.81.3", [("n1", "127.0.81.3"), ("n2", "127.0.81.2")]).start()
    assert twin.exit_code() == EX_CONFIG
    assert "two hosts are named" in twin.log() and "127.0.81.1" in twin.log()
    assert first.process.poll() is None and second.process.poll() is None


def test_a_member_of_another_cluster_is_refused_by_uuid(hosts):
    old = [("n1", "127.0.81.1"), ("n2", "127.0.81.2"), ("n3", "127.0.81.9")]
    first, second = hosts("n1", "127.0.81.1", old), hosts("n2", "127.0.81.2", old)
    first.start().init()
    second.start()
    wait_for("n2 to be a member", lambda: "node n2 has joined" in first.log() and "member of cluster" in second.log())
    first.stop()
    second.stop()
    other = hosts("n1", "127.0.81.4", [("n1", "127.0.81.4"), ("n2", "127.0.81.2")])
    uuid = other.start().init()["uuid"]
    stranger = hosts("n2", "127.0.81.2", [("n1", "127.0.81.4"), ("n2", "127.0.81.2")])
    before = open(stranger.dir + "/state/store/node.json").read()
    assert stranger.start().exit_code() == EX_CONFIG
    assert "another cluster" in stranger.log() and uuid in stranger.log()
    assert open(stranger.dir + "/state/store/node.json").read() == before
    assert other.process.poll() is None


def test_a_wiped_member_is_not_taken_in_again_silently(hosts):
    nodes = [("n1", "127.0.81.1"), ("n2", "127.0.81.2"), ("n3", "127.0.81.5")]
    first, second, third = (hosts(name, address, nodes) for name, address in nodes)
    first.start().init()
    second.start()
    third.start()
    wait_for("two more members", lambda: all("node %s has joined" % n in first.log() for n in ("n2", "n3")))
    second.stop()
    shutil.rmtree(second.dir + "/state/store/raft")
    assert subprocess.run([programs() + "/mha-stored", "--config", second.dir + "/node.yaml"], capture_output=True, timeout=30,
                          check=False).returncode != 0
    shutil.rmtree(second.dir + "/state/store")
    second.start()
    wait_for("the refusal", lambda: "is a member with store id" in first.log() + third.log())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_under_the_store_is_named(hosts):
    h = hosts("n1", "127.0.81.1", [("n1", "127.0.81.1")])
    os.makedirs(h.dir + "/state")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", h.dir + "/state"], check=True)
    try:
        subprocess.run(["dd", "if=/dev/zero", "of=" + h.dir + "/state/ballast", "bs=4k"], stderr=subprocess.DEVNULL, check=False)
        os.makedirs(h.dir + "/run")
        p = subprocess.run([programs() + "/mha-stored", "--config", h.dir + "/node.yaml"], capture_output=True, text=True, timeout=30, check=False)
        assert p.returncode != 0
        assert "No space left" in p.stderr and h.dir + "/state" in p.stderr
    finally:
        subprocess.run(["umount", h.dir + "/state"], check=True)


@pytest.mark.lab
def test_a_data_directory_of_another_system_is_refused_and_kept():
    postgres = pwd.getpwnam("postgres")
    with Lab(nodes=2, profile="fast") as lab:
        lab.wait_redundant()
        lab.crash("n2")
        data = lab.dir + "/n2/pg/data"
        shutil.rmtree(data)
        subprocess.run([PG_BIN + "/initdb", "-D", data, "-A", "trust", "-N"], user=postgres.pw_uid, group=postgres.pw_gid, cwd="/", check=True,
                       stdout=subprocess.DEVNULL)
        control = open(data + "/global/pg_control", "rb").read()
        lab.start("n2")

        def error():
            try:
                return next(i.get("error") for i in lab.group()["instances"] if i["node"] == "n2")
            except (AssertionError, StopIteration, KeyError):
                return None

        text = wait_for("the refusal", error, seconds=60)
        assert "system identifier" in text and "move it away" in text
        time.sleep(3)  # long enough for several retries: it must not have been replaced by a clone meanwhile
        assert open(data + "/global/pg_control", "rb").read() == control
