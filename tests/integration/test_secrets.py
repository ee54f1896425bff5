"""No private key, join secret or password in a command line, an environment, a log, or a file that others may read."""

import os
import re

import pytest

from lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def keys(folder):
    """The bodies of all private keys below folder, line by line: a part of a key is as bad as the whole."""
    found = set()
    for where, _, files in os.walk(folder):
        for name in files:
            for body in re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", read(os.path.join(where, name)), re.S):
                found.update(line for line in body.splitlines() if len(line) >= 40)
    return found


def places(lab):
    """(name, bytes) of all that somebody else could read."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if lab.dir.encode() in read("/proc/%s/cmdline" % pid):
            for what in ("cmdline", "environ"):
                yield "/proc/%s/%s" % (pid, what), read("/proc/%s/%s" % (pid, what))
    for where, _, files in os.walk(lab.dir):
        for name in files:
            path = os.path.join(where, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            if name.endswith(".log") or os.stat(path).st_mode & 0o004:
                yield path, read(path)


def leaks(lab, secrets):
    return ["%s in %s" % (s[:12], name) for name, data in places(lab) for s in secrets if s in data]


def test_no_secret_shows_outside_its_file():
    with Lab(nodes=1, profile="default") as lab:
        secrets = keys(lab.dir)
        done = lab.shell("n1", "-f", "json", "node", "add", "stranger", "--address", "10.77.0.99", check=False)
        secrets.update(w.encode() for w in re.findall(r"[A-Za-z0-9_-]{40,}", done.stdout))
        if not secrets:
            pytest.skip("this lab has neither keys nor a token")
        assert leaks(lab, secrets) == []
        marker = os.path.join(lab.dir, "n1", "log", "planted.log")
        with open(marker, "wb") as f:
            f.write(next(iter(secrets)))
        assert len(leaks(lab, secrets)) == 1, "the search itself finds what is there"
