"""After the loss of the majority: one survivor goes on alone, and what wakes up later cannot touch it.

Run as root: /usr/bin/python3 -m pytest tests/integration/test_recover.py
"""
import json
import os
import subprocess

import pytest

from lab import Lab, wait_for

pytestmark = pytest.mark.lab


def mhad(lab, *args):
    return subprocess.run([os.path.join(lab.env["LAB_BIN"], "mhad"), *args], capture_output=True, text=True, timeout=60)


def yaml_of(lab, host):
    return "%s/%s/node.yaml" % (lab.env["LAB_DIR"], host)


@pytest.mark.seconds(200)
def test_a_survivor_goes_on_alone_and_an_old_majority_cannot_touch_it(tmp_path):
    with Lab(nodes=3, engine="none") as lab:
        lab.store_sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "n1")
        lab.store_sql("INSERT INTO t VALUES (1, 'kept')", "n1")
        refused = mhad(lab, "recover", "--config", yaml_of(lab, "n1"), "--compare")
        assert refused.returncode == 5 and "mhad runs on this node" in refused.stderr
        for host in ("n1", "n2", "n3"):
            lab.crash(host)
        lines = {h: json.loads(mhad(lab, "recover", "--config", yaml_of(lab, h), "--compare").stdout) for h in ("n1", "n2")}
        assert lines["n1"]["uuid"] == lines["n2"]["uuid"]
        # somebody else has more: not here
        more = tmp_path / "more"
        more.write_text(json.dumps(dict(lines["n2"], index=lines["n1"]["index"] + 1)) + "\n")
        r = mhad(lab, "recover", "--config", yaml_of(lab, "n1"), "--with", str(more), "--yes-i-know-the-cluster", "lab")
        assert r.returncode == 5 and "n2\" has more" in r.stderr, r.stderr
        r = mhad(lab, "recover", "--config", yaml_of(lab, "n1"))
        assert r.returncode == 5 and "nothing was changed" in r.stderr
        assert json.loads(mhad(lab, "recover", "--config", yaml_of(lab, "n1"), "--compare").stdout) == lines["n1"]
        # n1 has at least as much as n2, or the other way round: take the better one
        best, rest = ("n1", ["n2", "n3"]) if (lines["n1"]["term"], lines["n1"]["index"]) >= (lines["n2"]["term"], lines["n2"]["index"]) else ("n2", ["n1", "n3"])
        r = mhad(lab, "recover", "--config", yaml_of(lab, best), "--yes-i-know-the-cluster", "lab")
        assert r.returncode == 0, r.stderr
        lab.start(best)

        def writes(value):
            def check():
                try:
                    lab.store_sql("INSERT INTO t VALUES (%d, 'new')" % value, best)
                    return True
                except Exception:  # not there yet
                    return False
            return check

        wait_for("the survivor to write", writes(2), 40)
        # the old majority wakes up, elects a leader and asks its old member to follow
        before = {h: generations(lab, h) for h in rest}
        for host in rest:
            lab.start(host)
        wait_for("the old majority to lead itself", lambda: any(generations(lab, h) > before[h] for h in rest), 60)
        wait_for("the survivor to write beside them", writes(3), 20)
        assert lab.store_sql("SELECT group_concat(a) FROM t", best).strip() == "1,2,3"
        assert mha(lab, best, "SELECT group_concat(name) FROM node").strip() == best
        assert int(mha(lab, best, "SELECT generation FROM controller")) > 1000000


def mha(lab, host, sql):
    return lab.psql(host, sql, database="mha", port=lab.env["LAB_SQL_PORT"])


def generations(lab, host):
    """How often this host became the controller."""
    with open("%s/%s/log/mhad.log" % (lab.env["LAB_DIR"], host)) as f:
        return f.read().count("is committed -> this node decides")
