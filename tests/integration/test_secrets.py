"""No private key, join secret or password in a command line, an environment, a log, or a file that others may read."""

import base64
import json
import os
import re
import subprocess
import sys
import time

import pytest

from lab import Lab, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

VISIBLE_S = 2.0  # how long a token may be seen on mhad's own command line; a moment is what exec and the loader take


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def files_below(folder):
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def keys_in(data):
    """The lines of all private keys: a part of a key is as bad as the whole."""
    for body in re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", data, re.S):
        yield from (line for line in body.splitlines() if len(line) >= 20)


def keys(lab):
    """Of every node and administrator, by the folder they lie in."""
    found = {}
    for path in files_below(lab.dir):
        found.setdefault(os.path.dirname(path), set()).update(keys_in(read(path)))
    return {folder: lines for folder, lines in found.items() if lines}


def secret_of(token):
    body = token.partition(".")[2]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["secret"]


def forms_of(token):
    """The token, and the secret that is in it as it is written and as bytes."""
    secret = secret_of(token)
    assert len(secret) >= 32
    return {token.encode(), secret.encode(), bytes.fromhex(secret) if re.fullmatch("[0-9a-f]+", secret) else secret.encode()}


def processes(lab):
    """Of the lab's namespaces, and whatever else names its folder."""
    inside = {p for host in lab.hosts for p in lab.run("pids", host, check=False).stdout.split()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if pid in inside or lab.dir.encode() in read("/proc/%s/cmdline" % pid):
            yield pid


def places(lab):
    """(name, bytes) of all that somebody else could read."""
    for pid in processes(lab):
        for what in ("cmdline", "environ"):
            yield "/proc/%s/%s" % (pid, what), read("/proc/%s/%s" % (pid, what))
    for path in files_below(lab.dir):
        if path.endswith(".log") or os.stat(path).st_mode & 0o044:
            yield path, read(path)


def leaks(lab, secrets):
    return ["%s... in %s" % (s[:8], name) for name, data in places(lab) for s in secrets if s in data]


def invite(lab, name):
    return lab.shell("n1", "node", "add", name).stdout.strip()


def boot(lab, name):
    lab.add(name)
    wait_for(name + " to boot", lambda: os.path.exists("%s/%s/run/api.sock" % (lab.dir, name)))


def start_join(lab, name, token):
    """`mhad join`, as the host's root types it; no shell in between that would show its own command line."""
    return subprocess.Popen(["ip", "netns", "exec", lab.env["LAB_NETNS_PREFIX"] + name, lab.env["LAB_BIN"] + "/mhad", "join", token, "--config",
                             "%s/%s/node.yaml" % (lab.dir, name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def watch_join(lab, process, secrets):
    """What shows while it runs, after the moment that its own command line has. The process's output is looked at too."""
    began, own, seen = time.monotonic(), "/proc/%d/cmdline" % process.pid, []
    while process.poll() is None:
        found = leaks(lab, secrets)
        young = time.monotonic() - began < VISIBLE_S
        seen += [leak for leak in found if not (young and leak.endswith(own))]
    said = process.stdout.read()
    assert process.returncode == 0, said
    assert not [s for s in secrets if s in said]
    return seen


@pytest.fixture(name="lab", scope="module")
def one_node_that_grows():
    with Lab(nodes=1, profile="default", engine="none") as lab:
        yield lab


def test_the_search_finds_what_is_there(lab):
    """In a log, in a file that the group reads, in an environment and in a command line; not in a file of its owner's."""
    body = next(iter(keys(lab)["%s/n1/state/tls" % lab.dir]))
    for name, mode in (("log/planted.log", 0o600), ("state/planted", 0o640), ("run/planted", 0o604)):
        path = "%s/n1/%s" % (lab.dir, name)
        with open(path, "wb") as f:
            f.write(b"before " + body + b" after")
        os.chmod(path, mode)
        assert [leak.rpartition(" ")[2] for leak in leaks(lab, {body})] == [path]
        os.remove(path)
    for words, env in (([], {"PLANTED": body.decode()}), ([body.decode()], {})):
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", lab.dir, *words], env=dict(os.environ, **env),
                              stdin=subprocess.PIPE) as process:
            wait_for("the planted secret", lambda p=process: any("/proc/%d/" % p.pid in leak for leak in leaks(lab, {body})))
            process.stdin.close()
    assert leaks(lab, {body}) == []


def test_no_key_shows_outside_its_file(lab):
    found = keys(lab)
    assert {"%s/n1/state/tls" % lab.dir, "%s/admin" % lab.dir} <= set(found), found.keys()
    assert leaks(lab, set.union(*found.values())) == []


@pytest.mark.parametrize("name, by_stdin", [("n2", False), ("n3", True)])
def test_a_token_shows_nowhere_while_it_is_used_and_after(lab, name, by_stdin):
    boot(lab, name)
    token, unused = invite(lab, name), invite(lab, "n9" if by_stdin else "n8")
    secrets = forms_of(token) | forms_of(unused)
    assert leaks(lab, secrets) == []
    process = start_join(lab, name, "-" if by_stdin else token)
    if by_stdin:
        process.stdin.write(token.encode() + b"\n")
        process.stdin.flush()
    process.stdin.close()
    assert watch_join(lab, process, secrets) == []
    wait_for(name + " to be a member", lambda: any(n["name"] == name and n["state"] == "online" for n in lab.status().get("nodes", [])), 60)
    found = keys(lab)
    assert "%s/%s/state/tls" % (lab.dir, name) in found
    assert leaks(lab, secrets.union(*found.values())) == []


def test_a_token_is_gone_from_the_command_line_before_the_cluster_is_asked(lab):
    """Nobody answers at the token's addresses, so mhad waits: its command line holds no token any more."""
    boot(lab, "n4")
    token = invite(lab, "n4")
    lab.cut("n4")
    try:
        process = start_join(lab, "n4", token)
        cmdline = "/proc/%d/cmdline" % process.pid
        wait_for("mhad to have wiped it", lambda: process.poll() is not None or (b"join" in read(cmdline) and token.encode() not in read(cmdline)),
                 VISIBLE_S)
        assert process.poll() is None, process.stdout.read()
        assert leaks(lab, forms_of(token)) == []
        process.kill()
        process.wait()
    finally:
        lab.heal("n4")
