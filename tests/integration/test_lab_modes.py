"""The lab in each of its shapes: what it promises to demo, tests and benches, and that nothing of it is left."""

import os
import subprocess

import pytest

from lab import Lab, Timeout, wait_for

pytestmark = pytest.mark.lab
UP_SECONDS = 60


def namespaces(lab):
    """The lab's network namespaces that exist now."""
    prefix = lab.env["LAB_NETNS_PREFIX"]
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(prefix)]


def write_and_count(lab):
    """The store takes a write through the VIP, and every data host gives the row back."""
    lab.store_sql("CREATE TABLE modes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
    lab.store_sql("INSERT INTO modes (text) VALUES ('one'), ('two')")
    for host in lab.data_hosts:
        assert lab.store_sql("SELECT count(*) FROM modes", host) == "2"


@pytest.mark.parametrize("nodes, arbiter, engine", [(1, False, "none"), (2, True, "none"), (3, False, "none"), (1, False, "postgresql"),
                                                    (5, False, "none")])
def test_the_lab_comes_up_healthy_within_a_minute(nodes, arbiter, engine):
    lab = Lab(nodes=nodes, arbiter=arbiter, engine=engine)
    try:
        assert lab.up() < UP_SECONDS
        status = lab.status()
        assert status["version"] == 1
        assert status["cluster"] == "lab"
        assert status["quorum"] is True
        assert [n["name"] for n in status["nodes"]] == lab.hosts
        assert all(n["state"] == "online" for n in status["nodes"])
        assert [n["role"] for n in status["nodes"] if n["name"] == "arb"] == ["arbiter"] * arbiter
        assert status["vips"][0]["address"] == lab.vip
        assert status["vips"][0]["holder"] in lab.data_hosts
        assert len(status["groups"]) == (engine != "none")
        for group in status["groups"]:
            assert group["primary"] == "n1"
            assert sorted(i["node"] for i in group["instances"]) == lab.data_hosts
        write_and_count(lab)
    finally:
        lab.run("down")
    assert namespaces(lab) == []
    assert not os.path.exists(lab.dir)


def test_two_labs_do_not_see_each_other():
    with Lab(nodes=1, engine="none") as one, Lab(nodes=1, engine="none") as two:
        one.store_sql("CREATE TABLE only_here (id INTEGER PRIMARY KEY) STRICT")
        assert "only_here" in one.store_sql("SELECT name FROM sqlite_schema")
        assert "only_here" not in two.store_sql("SELECT name FROM sqlite_schema")
        one.down()
        assert two.status()["quorum"] is True


def test_a_lab_replaces_what_a_crashed_one_left():
    with Lab(nodes=2, arbiter=True, engine="none") as lab:
        lab.crash("n1")
        lab.crash("n2")
        lab.up()
        assert lab.status()["quorum"] is True


def test_down_cleans_up_after_an_up_that_failed(tmp_path):
    broken = tmp_path / "bin"
    broken.mkdir()
    for name in ("mhad", "mha-shell"):
        (broken / name).write_text("#!/bin/sh\necho broken on purpose >&2\nexit 2\n")
        (broken / name).chmod(0o755)
    lab = Lab(nodes=1, engine="none")
    failed = lab.run("up", "--nodes", "1", "--engine", "none", check=False, env=dict(os.environ, MHA_BIN=str(broken)))
    assert failed.returncode == 1
    assert "broken on purpose" in failed.stderr
    lab.load_env()
    assert namespaces(lab)
    lab.run("down")
    assert namespaces(lab) == []
    assert not os.path.exists(lab.dir)


def test_a_crashed_host_comes_back_as_a_member():
    with Lab(nodes=3, engine="none") as lab:
        lab.crash("n3")
        wait_for("n3 to be seen as offline", lambda: [n["state"] for n in lab.status().get("nodes", []) if n["name"] == "n3"] == ["offline"])
        lab.store_sql("CREATE TABLE while_away (id INTEGER PRIMARY KEY) STRICT")
        lab.start("n3")
        lab.wait_redundant()
        assert lab.store_sql("SELECT count(*) FROM while_away", "n3") == "0"


def test_without_a_majority_nothing_is_written_and_status_says_so():
    with Lab(nodes=3, engine="none") as lab:
        lab.store_sql("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT")
        lab.cut("n2")
        lab.cut("n3")
        wait_for("`cluster status` to end with exit code 4 (no quorum)",
                 lambda: lab.shell("n1", "cluster", "status", check=False).returncode == 4)
        done = lab.run("exec", "n1", "psql", "-XqAt", "host=%s port=%s user=app dbname=config connect_timeout=3" % (
            lab.env["LAB_ADDRESS_n1"], lab.env["LAB_SQL_PORT"]), "-c", "INSERT INTO t VALUES (1)", check=False)
        assert done.returncode != 0
        lab.heal("n2")
        lab.heal("n3")
        lab.wait_redundant()
        assert lab.store_sql("SELECT count(*) FROM t") in ("0", "1")  # refused or unknown, never acknowledged


def test_options_that_do_not_exist_are_refused_by_name():
    lab = Lab()
    for words, complaint in ((["--engine", "oracle"], "oracle"), (["--tls", "perhaps"], "--tls perhaps"), (["--nodes", "0"], "--nodes 0"),
                             (["--quickly"], "--quickly")):
        refused = lab.run("up", *words, check=False)
        assert refused.returncode == 2
        assert complaint in refused.stderr
    os.rmdir(lab.dir)


def test_waiting_for_what_never_comes_fails():
    with pytest.raises(Timeout, match="for pigs that fly; last seen: False"):
        wait_for("pigs that fly", lambda: False, seconds=0.1)
