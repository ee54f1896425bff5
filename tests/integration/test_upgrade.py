"""A rolling upgrade: old and new builds side by side, the schema moves when every node knows it, and there is no way back.

Run as root: /usr/bin/python3 -m pytest tests/integration/test_upgrade.py
"""
import pathlib
import shutil

import pytest

from lab import Lab, wait_for

pytestmark = pytest.mark.lab


def mha(lab, host, sql):
    return lab.psql(host, sql, database="mha", port=lab.env["LAB_SQL_PORT"])


def version(lab, host):
    try:
        return int(mha(lab, host, "SELECT max(version) FROM schema_version"))
    except Exception:  # no leader for a moment
        return 0


def has_line(lab, host, text):
    return text in pathlib.Path(lab.env["LAB_DIR"], host, "log/mhad.log").read_text()


def boot(lab, host, folder):
    """Restart a host's programs from this folder."""
    lab.crash(host)
    conf = pathlib.Path(lab.env["LAB_DIR"], "lab.conf")
    was = conf.read_text()
    conf.write_text(was + 'BIN="%s"\n' % folder)
    lab.start(host)
    conf.write_text(was)


@pytest.mark.seconds(200)
def test_the_schema_moves_when_every_node_knows_it(tmp_path):
    with Lab(nodes=3, engine="none") as lab:
        old = pathlib.Path(lab.env["LAB_BIN"])
        following = old.parent / "tests/next/mha-stored"
        if not following.exists():
            pytest.skip("mha-stored-next is not built")
        new = pathlib.Path(lab.env["LAB_DIR"], "next")  # where the node's users may look
        new.mkdir(mode=0o755)
        for program in old.iterdir():
            if program.name == "mhad":
                shutil.copy(program, new)  # it looks for the others beside itself
            else:
                (new / program.name).symlink_to(following if program.name == "mha-stored" else program)
        before = version(lab, "n1")
        for host in ("n2", "n3"):
            boot(lab, host, new)
            wait_for("the cluster to serve with both builds", lambda: version(lab, "n1") == before, 60)
        boot(lab, "n1", new)
        wait_for("the schema to move", lambda: version(lab, "n2") == before + 1, 60)
        events = mha(lab, "n2", "SELECT text FROM event WHERE text LIKE 'the schema of the store went%'")
        assert "from version %d to %d" % (before, before + 1) in events
        # the old build may not come back
        boot(lab, "n3", old)
        wait_for("the old build to refuse", lambda: has_line(lab, "n3", "a downgrade is not possible"), 60)
        wait_for("it to end", lambda: not lab.pids("n3", "mhad"), 30)
        assert version(lab, "n1") == before + 1
