"""The cluster grows, shrinks, loses and replaces nodes while an application writes to the store all the time.

On each path: nothing acknowledged is missing, and no write stalls longer than one election (with room for a busy machine).
"""

import os
import re
import time

import pytest

from lab import Lab, wait_for

pytestmark = pytest.mark.lab
STALL_S = 3.0  # an election of the fast profile takes 0.3 to 1.0 s; the rest is room


def roles(lab):
    return {n["name"]: n["role"] for n in lab.status().get("nodes", [])}


def wait_roles(lab, expected, seconds=60):
    return wait_for("the roles %s" % expected, lambda: roles(lab) == expected or None, seconds, 0.2)


def raft_role(lab, address):
    """What Raft says of the node at an address; "" when it does not know it."""
    rows = lab.run("exec", "n1", "psql", "-XqAt", "host=%s port=%s dbname=mha user=root" % (os.path.join(lab.dir, "n1", "run"), lab.env["LAB_SQL_PORT"]),
                   "-c", "SHOW mha.members", check=False).stdout
    return next((r.split("|")[2] for r in rows.splitlines() if r.split("|")[1].startswith(address + ":")), "")


def log_of(lab, host):
    with open(os.path.join(lab.dir, host, "log", "mhad.log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def remove(lab, name, via="n1", **more):
    return lab.shell(via, "-y", "node", "remove", name, timeout=150, **more)


def grow(lab, host):
    lab.add(host)
    lab.join(host)


class Writer:
    """Writes during the block; afterwards everything acknowledged must be there, without a long stall."""

    def __init__(self, lab, name, targets=("store",)):
        self.lab, self.targets = lab, targets
        self.probe = lab.probe("%s-%d" % (name, time.time()), targets=targets, arp=False)

    def __enter__(self):
        self.probe.wait_writing()
        self.began = time.monotonic()
        return self

    def __exit__(self, kind, error, trace):
        try:
            if error is None:
                self.check()
        finally:
            self.probe.stop()

    def check(self):
        self.probe.wait_writing()
        now = time.monotonic()
        self.probe.stop()  # before the rows are counted: what is acknowledged later would seem to be missing
        report = self.probe.report()
        for target in self.targets:
            where = self.lab.vip
            missing = self.probe.missing(target, where)
            assert not missing, "%d acknowledged rows of %s are missing" % (len(missing), target)
            stall = report.outage(target, since=self.began, until=now)[0]
            assert stall < STALL_S, "no write to %s was acknowledged for %.2f s" % (target, stall)


@pytest.mark.seconds(420)
def test_one_node_grows_to_three_and_five_and_shrinks_to_three():
    with Lab(nodes=1, engine="postgresql") as lab:
        with Writer(lab, "grow", targets=("store", "postgresql")):
            grow(lab, "n2")
            wait_roles(lab, {"n1": "voter", "n2": "standby"})  # two voters would bear no loss: one is as good
            grow(lab, "n3")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter"})
            grow(lab, "n4")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter", "n4": "standby"})
            grow(lab, "n5")
            wait_roles(lab, {"n%d" % i: "voter" for i in range(1, 6)})
            lab.wait_redundant()
            remove(lab, "n5")
            remove(lab, "n4")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter"})
            lab.wait_redundant()
        wait_for("n4 to have stopped", lambda: not lab.pids("n4", "mhad"))
        assert "was removed from cluster" in log_of(lab, "n4")


@pytest.mark.seconds(300)
def test_the_leader_and_primary_leaves():
    with Lab(nodes=3, engine="postgresql") as lab:
        with Writer(lab, "leader", targets=("store", "postgresql")):
            refused = remove(lab, "n1", check=False)
            assert refused.returncode == 5
            assert "primary of group main" in refused.stderr and "switchover" in refused.stderr
            lab.shell("n1", "-y", "group", "switchover", "main", "--to", "n2", timeout=120)
            remove(lab, "n1", via="n2")
            wait_roles(lab, {"n2": "voter", "n3": "voter"})


@pytest.mark.seconds(300)
def test_a_dead_node_is_replaced():
    with Lab(nodes=3, engine="none") as lab:
        with Writer(lab, "replace"):
            lab.crash("n3")
            wait_for("n3 to be offline", lambda: any(n["name"] == "n3" and n["state"] == "offline" for n in lab.status().get("nodes", [])))
            remove(lab, "n3")
            wait_roles(lab, {"n1": "voter", "n2": "voter"})
            lab.wipe("n3")
            lab.start("n3")
            lab.join("n3")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter"})
            lab.wait_redundant()


@pytest.mark.seconds(300)
def test_a_removed_node_that_comes_back_finds_no_way_in():
    with Lab(nodes=3, engine="none") as lab:
        with Writer(lab, "back"):
            lab.crash("n3")
            remove(lab, "n3")
            lab.start("n3")
            wait_for("n3 to say that it is alone", lambda: "was node n3 removed" in log_of(lab, "n3") or "refuses this node" in log_of(lab, "n3")
                     or not lab.pids("n3", "mhad"), 60)
            assert roles(lab) == {"n1": "voter", "n2": "voter"}
            listed = lab.shell("n1", "-f", "json", "node", "list").stdout
            assert '"n3"' not in listed


@pytest.mark.seconds(300)
def test_a_wiped_node_never_comes_back_under_its_old_name_by_itself():
    """dqlite makes a cluster of its own out of an empty directory when the id is 1 or its bootstrap id. Ours is neither, and an empty
    directory is no member: the host waits for an invitation, writes nothing, and the others say what is wrong."""
    with Lab(nodes=3, engine="none") as lab:
        with Writer(lab, "wiped"):
            lab.crash("n3")
            lab.wipe("n3")
            lab.start("n3")
            wait_for("n3's store to be up", lambda: lab.pids("n3", "mha-stored"))
            time.sleep(3)  # longer than the 120 ms in which the trap would have bitten
            assert not os.listdir(os.path.join(lab.dir, "n3", "state", "store", "raft"))
            assert roles(lab) == {"n1": "voter", "n2": "voter", "n3": "voter"}  # n3's place is kept, and it is offline
            assert [n["state"] for n in lab.status()["nodes"]] == ["online", "online", "offline"]
            refused = lab.run("exec", "n3", "psql", "-XqAt", "host=%s port=%s dbname=config" % (os.path.join(lab.dir, "n3", "run"), lab.env["LAB_SQL_PORT"]),
                              "-c", "CREATE TABLE trap (id INTEGER)", check=False)
            assert refused.returncode != 0, "a wiped node acknowledged a write"
            remove(lab, "n3")
            lab.join("n3")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter"})


@pytest.mark.seconds(300)
def test_a_standby_takes_the_place_of_a_voter_that_is_gone_for_good():
    with Lab(nodes=4, engine="none") as lab:
        assert sorted(roles(lab).values()) == ["standby", "voter", "voter", "voter"]
        standby = next(name for name, role in roles(lab).items() if role == "standby")
        victim = next(name for name, role in roles(lab).items() if role == "voter" and name != lab.status()["leader"])
        lab.shell("n1", "-y", "cluster", "set", "replace_after_s", "5")
        with Writer(lab, "gone"):
            lab.crash(victim)
            wait_for("%s to vote in %s's place" % (standby, victim), lambda: roles(lab).get(standby) == "voter" and roles(lab).get(victim) == "standby" or None, 60)
            lab.start(victim)
            lab.wait_redundant()
            assert roles(lab)[victim] == "standby"


@pytest.mark.seconds(300)
def test_an_arbiter_comes_and_goes():
    with Lab(nodes=2, engine="none") as lab:
        with Writer(lab, "arbiter"):
            assert sorted(roles(lab).values()) == ["standby", "voter"]
            grow(lab, "arb")
            wait_roles(lab, {"n1": "voter", "n2": "voter", "arb": "arbiter"})
            remove(lab, "arb")
            wait_roles(lab, {"n1": "voter", "n2": "voter"})


@pytest.mark.seconds(300)
def test_a_node_moves_to_another_address():
    with Lab(nodes=3, engine="none") as lab:
        with Writer(lab, "move"):
            refused = lab.shell("n1", "-y", "node", "move", "n3", "10.77.0.33", check=False)
            assert refused.returncode == 5 and "is online" in refused.stderr
            lab.crash("n3")
            wait_for("n3 to be offline", lambda: any(n["name"] == "n3" and n["state"] == "offline" for n in lab.status().get("nodes", [])))
            taken = lab.shell("n1", "-y", "node", "move", "n3", lab.env["LAB_ADDRESS_n2"], check=False)
            assert taken.returncode == 5 and "address of node n2" in taken.stderr
            lab.shell("n1", "-y", "node", "move", "n3", "10.77.0.33")
            lab.move("n3", "10.77.0.33")
            lab.start("n3")
            status = lab.wait_redundant()
            assert [n["address"] for n in status["nodes"] if n["name"] == "n3"] == ["10.77.0.33"]
            wait_roles(lab, {"n1": "voter", "n2": "voter", "n3": "voter"})
            wait_for("n3's vote in Raft", lambda: raft_role(lab, "10.77.0.33") == "voter")
            lab.crash("n2")  # n3 counts again: without it this would be no majority


def test_a_rename_is_refused_with_the_way_out():
    with Lab(nodes=3, engine="none") as lab:
        lab.crash("n3")
        path = os.path.join(lab.dir, "n3", "node.yaml")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(re.sub(r"^node: n3$", "node: renamed", text, flags=re.M).replace("name: n3", "name: renamed"))
        lab.start("n3")
        wait_for("the refusal", lambda: 'belongs to node \\"n3\\"' in log_of(lab, "n3"))
        assert set(roles(lab)) == {"n1", "n2", "n3"}


@pytest.mark.seconds(300)
def test_changes_go_on_when_the_leader_dies_in_the_middle():
    with Lab(nodes=3, engine="none") as lab:
        with Writer(lab, "middle"):
            grow(lab, "n4")
            grow(lab, "n5")
            leader = lab.status()["leader"]
            lab.signal(lab.pids(leader, "mha-stored"))
            lab.signal(lab.children_of_program(leader, "mhad"))
            wait_roles(lab, {"n%d" % i: "voter" for i in range(1, 6)})
            lab.wait_redundant()
