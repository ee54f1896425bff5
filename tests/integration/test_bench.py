"""contrib/bench store, as short as it can be: it ends, it measures, it leaves nothing behind."""

import json
import os
import pathlib
import subprocess
import tempfile

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MHA_BIN", REPO / "build/release/bin"))

pytestmark = pytest.mark.skipif(not (BIN.parent / "tests/pgload").exists(), reason="%s/../tests/pgload is not built (MHA_BIN)" % BIN)


@pytest.fixture
def work():
    """Not tmp_path: the path of a socket must be short, and the folder on a disk."""
    with tempfile.TemporaryDirectory(prefix="mha-tb-", dir="/var/tmp") as path:
        yield pathlib.Path(path)


def test_a_short_run_measures_and_cleans_up(tmp_path, work):
    out = tmp_path / "runs.json"
    done = subprocess.run([REPO / "contrib/bench", "store", "--only", "dqlite,plain", "--rounds", "1", "--seconds", "1", "--clients", "2",
                           "--profile", "relaxed", "--dir", work, "--json", out],
                          env=dict(os.environ, MHA_BIN=str(BIN)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    runs = json.loads(out.read_text())
    for kind in ("insert", "transaction", "select"):
        for name in ("dqlite", "plain"):
            result = runs[kind]["2"][0][name]
            assert result["ops"] > 0 and result["errors"] == 0
            assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"]
    assert "front end, plaintext" in done.stdout
    assert list(work.iterdir()) == []


def test_an_unknown_contestant_is_named():
    done = subprocess.run([REPO / "contrib/bench", "store", "--only", "oracle"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert '"oracle" is not a contestant' in done.stderr
