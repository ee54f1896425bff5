"""Shared by all Python tests: where the helpers are, a time limit per test, and an honest skip where there can be no lab."""

import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import Lab, REPO  # noqa: E402

TEST_SECONDS = 240


def pytest_configure(config):
    config.addinivalue_line("markers", "lab: needs root, network namespaces and the built programs")
    config.addinivalue_line("markers", "seconds(n): the time limit of this test, instead of %d" % TEST_SECONDS)


def why_no_lab():
    if os.geteuid() != 0:
        return "the lab needs root"
    name = "mhaprobe%d" % os.getpid()
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode != 0:
        return "this machine does not let root make network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=True)
    folders = [os.environ.get("MHA_BIN", ""), REPO + "/build/release/bin", REPO + "/build/dev/bin"]
    if not any(os.access(os.path.join(f, "mhad"), os.X_OK) for f in folders if f):
        return "mhad is not built"
    return None


def pytest_collection_modifyitems(items):
    marked = [i for i in items if i.get_closest_marker("lab")]
    reason = why_no_lab() if marked else None
    for item in marked if reason else []:
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report):
    if report.failed:
        Lab.keep_logs = True


@pytest.fixture(autouse=True)
def time_limit(request):
    """A test that hangs fails with a trace of where."""
    marker = request.node.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TEST_SECONDS

    def too_long(*_):
        raise TimeoutError("the test ran longer than %d s" % seconds)
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)

