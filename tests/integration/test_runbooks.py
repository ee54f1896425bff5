"""Every line of every runbook is typed, on the host that the runbook names, and the end it promises is looked for.

A block's place stands in the line before it: "On n1:", "On n1 and n2:", "On the leader's node:". What differs between a lab and a real host:
  /etc/mha4rdb, /var/lib/mha4rdb, /var/tmp   folders of the lab (PATHS)
  systemctl start|stop|restart mhad          a host of the lab has no systemd: systemctl()
  who copies files from host to host         all hosts have one working directory
  who waits until a status is good           all_online() after a restart, and `status` commands are repeated while nobody answers
Run as root: /usr/bin/python3 -m pytest tests/integration/test_runbooks.py
"""

import os
import pathlib
import re
import signal
import time

import pytest

from lab import REPO, Lab, wait_for

pytestmark = pytest.mark.lab
RUNBOOKS = pathlib.Path(REPO, "docs/runbooks")
PATHS = {"/etc/mha4rdb": "{dir}/{host}", "/var/lib/mha4rdb": "{dir}/{host}/state", "/var/tmp": "{dir}/desk"}
LOOKS = re.compile(r"mha-shell (cluster|store) status|mha-shell node list|mha-shell cluster events")
PLACE = re.compile(r"\b[Oo]n (n\d(?: and n\d)*|the leader's node):$")
NOT_READY = (3, 4)  # mha-shell's exit codes: nobody answers, no quorum


class Block:
    def __init__(self, line, place, commands):
        self.line, self.place, self.commands = line, place, commands


def blocks_of(text, name="runbook"):
    """The ```sh blocks of a runbook, each with its place."""
    found, before, commands = [], "", None
    for number, line in enumerate(text.splitlines(), 1):
        if commands is not None and line.strip() != "```":
            commands.append(line.strip())
        elif commands is not None:
            found.append(Block(number, place, [c for c in commands if c and not c.startswith("#")]))
            commands = None
        elif line.strip() == "```sh":
            place = PLACE.search(before)
            assert place, "%s, line %d: the line before the block does not end with a place, such as \"On n1:\"" % (name, number)
            place, commands = place[1], []
        elif line.strip().startswith("```"):
            raise AssertionError("%s, line %d: only ```sh blocks are typed; indent other text" % (name, number))
        elif line.strip():
            before = line.strip()
    assert commands is None, "%s: the last block has no end" % name
    return found


class Operator:
    """Types commands in a lab."""

    def __init__(self, lab):
        self.lab = lab
        self.desk = pathlib.Path(lab.dir, "desk")
        self.desk.mkdir(mode=0o755)

    def follow(self, name):
        blocks = blocks_of((RUNBOOKS / name).read_text(encoding="utf-8"), name)
        assert blocks, "%s has nothing to type" % name
        for block in blocks:
            for host in self.hosts(block.place):
                for command in block.commands:
                    self.type(host, command, "%s, block that ends in line %d, on %s" % (name, block.line, host))

    def hosts(self, place):
        return [self.lab.status()["leader"]] if place == "the leader's node" else place.split(" and ")

    def type(self, host, command, where):
        words = command.split()
        if words[0] == "systemctl":
            assert words[2:] == ["mhad"], "%s: %s" % (where, command)
            self.systemctl(words[1], host)
            return
        for path, here in PATHS.items():
            command = command.replace(path, here.format(dir=self.lab.dir, host=host))
        end = time.monotonic() + 40
        while True:
            done = self.lab.run("exec", host, "bash", "-euo", "pipefail", "-c", command, check=False, cwd=self.desk, timeout=150)
            if done.returncode not in NOT_READY or not LOOKS.match(command) or time.monotonic() > end:
                break
            time.sleep(0.3)
        assert done.returncode == 0, "%s: %s\nexit code %d\n%s%s" % (where, command, done.returncode, done.stdout, done.stderr)

    def systemctl(self, verb, host):
        assert verb in ("start", "stop", "restart"), verb
        mhad = self.lab.pids(host, "mhad")
        if verb != "start" and mhad:
            Lab.signal(mhad[0], signal.SIGTERM)
        wait_for("mhad to be stopped on %s" % host, lambda: not self.lab.run("pids", host).stdout.split(), 40)
        if verb != "stop":
            self.lab.start(host)
            self.booted(host)
        if verb == "restart":
            all_online(self.lab)

    def booted(self, host):
        """systemd's start returns when mhad says that it is ready."""
        socket = os.path.join(self.lab.dir, host, "run", "api.sock")
        wait_for("%s to be ready" % host, lambda: os.path.exists(socket), 40)


def all_online(lab, hosts=None, seconds=90):
    hosts = hosts or lab.hosts

    def check():
        status = lab.status()
        nodes = {n["name"]: (n["role"], n["state"]) for n in status.get("nodes", [])}
        return status.get("quorum") and nodes == {h: ("voter", "online") for h in hosts}
    return wait_for("%s to be online and voters" % ", ".join(hosts), check, seconds, 0.2)


def rows(lab):
    return lab.store_sql("SELECT group_concat(a) FROM t", "n1").strip()


def new_admin(lab):
    """The test itself looks from outside, with a certificate of the cluster that is there now."""
    def issue():
        return lab.run("exec", "n1", "mha-shell", "cert", "issue", "admin", "--out", os.path.join(lab.dir, "admin"), check=False).returncode == 0
    for file in pathlib.Path(lab.dir, "admin").glob("*"):
        file.unlink()
    wait_for("a certificate", issue, 40)


def writing(lab, targets):
    return lab.probe("runbook-%d" % time.time(), targets=targets, arp=False)


def nothing_is_missing(lab, probe):
    probe.wait_writing()
    probe.stop()  # before the rows are counted: what is acknowledged later would seem to be missing
    for target in probe.targets:
        missing = probe.missing(target, lab.vip)
        assert not missing, "%d acknowledged rows of %s are missing" % (len(missing), target)


# --- one test for each kind of lab; together they follow every runbook ---

FOLLOWED = {"online": ["full-disk.md", "replace-a-dead-node.md"],
            "store": ["backup.md", "upgrade.md", "lost-majority.md", "restore.md"]}


def test_no_runbook_is_left_out():
    there = sorted(p.name for p in RUNBOOKS.glob("*.md") if p.name != "README.md")
    assert there == sorted(sum(FOLLOWED.values(), []))


def test_a_command_that_fails_is_seen(tmp_path, monkeypatch):
    (tmp_path / "bad.md").write_text("Look. On n1:\n\n```sh\ntrue\nfalse\n```\n")
    (tmp_path / "nowhere.md").write_text("Look:\n\n```sh\ntrue\n```\n")
    monkeypatch.setattr("test_runbooks.RUNBOOKS", tmp_path)
    with Lab(nodes=1, engine="none") as lab:
        operator = Operator(lab)
        with pytest.raises(AssertionError, match=r"bad.md.* on n1: false\s+exit code 1"):
            operator.follow("bad.md")
        with pytest.raises(AssertionError, match="does not end with a place"):
            operator.follow("nowhere.md")


def test_while_applications_write():
    with Lab(nodes=3, engine="postgresql") as lab:
        operator = Operator(lab)
        with writing(lab, ("store", "postgresql")) as probe:
            probe.wait_writing()
            operator.follow("full-disk.md")
            lab.crash("n3")
            lab.wipe("n3")  # its machine is gone; this is the new one
            operator.follow("replace-a-dead-node.md")
            lab.wait_redundant()
            nothing_is_missing(lab, probe)


def test_upgrade_loss_of_the_majority_and_of_everything():
    with Lab(nodes=5, engine="none") as lab:
        operator = Operator(lab)
        lab.store_sql("CREATE TABLE t (a INTEGER PRIMARY KEY)", "n1")
        lab.store_sql("INSERT INTO t VALUES (1)", "n1")
        operator.follow("backup.md")
        with writing(lab, ("store",)) as probe:
            probe.wait_writing()
            operator.follow("upgrade.md")
            nothing_is_missing(lab, probe)

        lab.crash("n5")
        lab.crash("n2")  # it misses row 2, which the three others have: n1 is the survivor to choose
        wait_for("row 2", lambda: insert(lab, 2), 40)
        lab.crash("n3")
        lab.crash("n4")
        operator.follow("lost-majority.md")
        all_online(lab, ("n1", "n2", "n3"))
        assert rows(lab) == "1,2"

        for host in ("n1", "n2", "n3"):
            lab.crash(host)
            lab.wipe(host)
        operator.follow("restore.md")
        new_admin(lab)
        all_online(lab, ("n1", "n2", "n3"))
        assert rows(lab) == "1"
        assert insert(lab, 3) and rows(lab) == "1,3"


def insert(lab, value):
    try:
        lab.store_sql("INSERT OR IGNORE INTO t VALUES (%d)" % value, "n1")
        return True
    except RuntimeError:  # no leader for a moment
        return False
