"""What the processes of a running node may do, who may read what they write, and that no secret shows anywhere."""

import os
import re
import signal
import stat

import pytest

from lab import Lab, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

KILL, SETGID, SETUID, NET_ADMIN, NET_RAW = (1 << n for n in (5, 6, 7, 12, 13))
PARENT = KILL | SETGID | SETUID | NET_ADMIN | NET_RAW


@pytest.fixture(scope="module", name="lab")
def one_node():
    with Lab(nodes=1, profile="default") as lab:
        yield lab


def field(pid, name):
    with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
        return re.search(r"^%s:\s*(.*)$" % name, f.read(), re.M).group(1)


def processes(lab, host="n1"):
    """{role: pids} of a node."""
    found = {"mha-stored": lab.pids(host, "mha-stored"), "mha-vipd": lab.pids(host, "mha-vipd"), "mha-dbd": lab.pids(host, "mha-dbd")}
    for pid in lab.pids(host, "mhad"):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            found.setdefault("control" if b"--control" in f.read().split(b"\0") else "parent", []).append(pid)
    found["postgres"] = lab.pids(host, "postgres")
    return found


def test_every_process_has_the_capabilities_it_needs_and_no_other(lab):
    wanted = {"parent": PARENT, "control": 0, "mha-stored": 0, "mha-dbd": 0, "postgres": 0, "mha-vipd": NET_ADMIN | NET_RAW}
    for role, pids in processes(lab).items():
        assert pids, "no %s runs" % role
        for pid in pids:
            for kind in ("CapEff", "CapPrm"):
                assert int(field(pid, kind), 16) == wanted[role], "%s of %s (pid %d)" % (kind, role, pid)
            assert int(field(pid, "CapBnd"), 16) & ~PARENT == 0, "the bounding set of " + role
            assert field(pid, "NoNewPrivs") == "1", role
            assert (field(pid, "Uid").split()[1] == "0") == (role == "parent"), role


def test_nobody_looks_into_the_memory_of_those_who_hold_secrets(lab):
    found = processes(lab)
    for role in ("control", "mha-stored"):
        for pid in found[role]:
            assert os.stat("/proc/%d/environ" % pid).st_uid == 0, "%s can be dumped" % role
            with open("/proc/%d/limits" % pid, encoding="ascii") as f:
                assert re.search(r"Max core file size\s+0\s+0", f.read()), role
    assert field(found["mha-vipd"][0], "Seccomp") == "2"


OPEN_ON_PURPOSE = re.compile(r"/run/(main/)?(\.s\.PGSQL\.\d+|api\.sock|dbd-\w+\.sock)$|/state/roster/nodes\.json$")


def test_nothing_that_a_node_writes_is_open_to_others(lab):
    wide = []
    for part in ("run", "state"):
        for folder, names, files in os.walk(os.path.join(lab.dir, "n1", part)):
            for name in files:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                if not stat.S_ISLNK(mode) and mode & 0o137 and not OPEN_ON_PURPOSE.search(path):
                    wide.append("%s %o" % (path, stat.S_IMODE(mode)))
            names[:] = [n for n in names if not os.path.islink(os.path.join(folder, n))]
    assert not wide, wide
    state = os.path.join(lab.dir, "n1", "state")
    for name, mode in (("store", 0o700), ("tls", 0o700), ("backup", 0o700), ("roster", 0o755)):
        assert stat.S_IMODE(os.stat(os.path.join(state, name)).st_mode) == mode, name


def replaced(lab, program, log_says, seconds=60):
    old = lab.pids("n1", program)
    lab.signal(old, signal.SIGSTOP)
    try:
        wait_for("another %s" % program, lambda: [p for p in lab.pids("n1", program) if p not in old], seconds)
    finally:
        lab.signal([p for p in old if os.path.exists("/proc/%d" % p)], signal.SIGCONT)
    with open(os.path.join(lab.dir, "n1", "log", "mhad.log"), encoding="utf-8", errors="replace") as f:
        assert re.search(log_says, f.read())


def test_a_frozen_guard_of_another_user_is_replaced(lab):
    replaced(lab, "mha-dbd", r"dbd main.*does not answer the control process.*killed")
    lab.wait_primary()


def test_a_frozen_store_is_replaced(lab):
    replaced(lab, "mha-stored", r"stored.*does not answer the control process.*killed")
    lab.wait_primary()
