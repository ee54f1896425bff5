"""mha-shell against a stand-in for mhad's API (shell_standin.py) and, for its SQL side, a PostgreSQL server of this test's own.

What is tested is the shell: what it sends, prints and returns. The real API and SQL port are tested with the lab.
"""

import csv
import io
import json
import os
import pty
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shell_standin import STATUS, Standin, event  # noqa: E402

from lab import REPO  # noqa: E402

PG_BIN = "/usr/lib/postgresql/15/bin"
WAIT_SECONDS = 30


def find_shell():
    folders = [os.environ.get("MHA_BIN", ""), REPO + "/build/release/bin", REPO + "/build/dev/bin"]
    return next((f + "/mha-shell" for f in folders if f and os.access(f + "/mha-shell", os.X_OK)), None)


SHELL = find_shell()
pytestmark = pytest.mark.skipif(SHELL is None, reason="mha-shell is not built")


def run(*words, stdin="", env=None, shell_env=None):
    environment = dict(os.environ, TZ="Europe/Berlin", LC_ALL="C.UTF-8", **(env or {}))
    environment.pop("MHA_NODE", None)
    environment.update(shell_env or {})
    return subprocess.run([SHELL, *words], input=stdin, capture_output=True, text=True, timeout=60, env=environment, check=False)


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(name="node")
def one_node():
    node = Standin()
    yield node
    node.close()


@pytest.fixture(name="other")
def other_node():
    node = Standin()
    yield node
    node.close()


def at(node, *words, **more):
    return run("--node", node.url, *words, **more)


# --- showing ---


def test_status_as_json_is_exactly_the_object_of_the_api(node):
    for words in (["-f", "json", "cluster", "status"], ["cluster", "status", "-f", "json"]):
        done = at(node, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == STATUS
        assert list(json.loads(done.stdout)) == list(STATUS)  # in its order, on one line
        assert done.stdout.count("\n") == 1


def test_status_as_a_table_fits_100_columns(node):
    node.status["groups"][0]["reason"] = "n2 is being rebuilt"
    node.status["groups"][0]["instances"][1]["error"] = "pg_basebackup: disk full"
    done = at(node, "cluster", "status")
    lines = done.stdout.splitlines()
    assert lines[0] == "cluster lab: quorum, leader n1, generation 3"
    assert "n1    voter    online   10.77.0.11  leader" in lines
    assert "10.77.0.100  group:main  n1" in lines
    assert "group main: postgresql, steady, primary n1, epoch 1, sync" in lines
    assert "  reason: n2 is being rebuilt" in lines
    assert lines[-1] == "  n2: pg_basebackup: disk full"
    assert "  n2        replica  running  0/3000148  1.5 kB  yes" in lines
    assert max(map(len, lines)) <= 100
    assert "\033" not in done.stdout
    assert not any(line != line.rstrip() for line in lines)


def test_status_as_csv_has_a_line_per_instance(node):
    rows = list(csv.DictReader(io.StringIO(at(node, "-f", "csv", "cluster", "status").stdout)))
    assert [(r["group"], r["node"], r["role"], r["lag_bytes"]) for r in rows] == [("main", "n1", "primary", "0"), ("main", "n2", "replica", "1536")]


def test_status_without_a_quorum_is_shown_and_ends_with_4(node):
    node.status.update(quorum=False, leader=None)
    done = at(node, "cluster", "status")
    assert done.returncode == 4
    assert done.stdout.startswith("cluster lab: NO QUORUM, no leader\n")
    assert "no quorum" in done.stderr


@pytest.mark.parametrize("words, expected", [
    (("node", "list"), ["n1", "voter", "online", "10.77.0.11", "0.1", "s", "ago", "yes", "42"]),
    (("group", "list"), ["main", "postgresql", "steady", "n1", "1", "sync", "no", "-"]),
    (("vip", "list"), ["10.77.0.100", "group:main", "n1"]),
])
def test_lists(node, words, expected):
    done = at(node, *words)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == expected
    for form in ("json", "csv"):
        assert at(node, "-f", form, *words).returncode == 0


def test_an_operation_in_progress_is_shown_with_its_group(node):
    group = dict(STATUS["groups"][0], state="promoting", reason="n1 is silent", paused=True,
                 operation={"id": 9, "kind": "failover", "phase": "promote", "from": "n1", "to": "n2", "seconds": 3})
    node.answers["GET", "/v1/groups"] = (200, {"version": 1, "groups": [group]})
    done = at(node, "group", "list")
    assert "9: failover to n2, promote, 3 s" in done.stdout
    assert "main: n1 is silent" in done.stdout


def test_events_have_local_times_in_tables_and_iso_in_json(node):
    done = at(node, "cluster", "events")
    assert done.stdout.splitlines()[1].split() == ["1", "2026-11-23", "19:50:21.001", "info", "main", "1", "node", "n2", "is", "online"]
    done = at(node, "-f", "json", "cluster", "events", "--after", "1", "--limit", "7")
    assert json.loads(done.stdout) == {"version": 1, "events": node.events[1:]}
    assert node.requests[-1][1] == "/v1/events?after=1&limit=7"


def test_control_characters_from_the_cluster_do_not_reach_the_terminal(node):
    node.status["groups"][0]["reason"] = "bad \033[2J news"
    assert "\033" not in at(node, "cluster", "status").stdout
    node.answers["GET", "/v1/status"] = (500, {"version": 1, "error": "io", "message": "bad \033[2J news"})
    assert "\033" not in at(node, "cluster", "status").stderr


def read_lines(process, count):
    lines = []
    deadline = time.monotonic() + WAIT_SECONDS
    while len(lines) < count and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.2)[0]:
            lines.append(process.stdout.readline())
    assert len(lines) == count, lines
    return lines


def follow(nodes):
    return subprocess.Popen([SHELL, "--node", nodes, "-f", "json", "cluster", "events", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            bufsize=0)


def test_following_prints_each_event_when_it_comes_and_survives_the_loss_of_a_node(node, other):
    process = follow(node.url + "," + other.url)
    try:
        assert [json.loads(line)["id"] for line in read_lines(process, 2)] == [1, 2]
        node.add_event(event(3, "n2 is promoted"))
        assert json.loads(read_lines(process, 1)[0])["text"] == "n2 is promoted"
        other.events = list(node.events)
        node.fall_silent()
        other.add_event(event(4, "seen at the other node"))
        assert json.loads(read_lines(process, 1)[0])["id"] == 4
    finally:
        process.kill()
        process.communicate()


def test_watching_repeats(node):
    process = subprocess.Popen([SHELL, "--node", node.url, "-f", "json", "cluster", "status", "--watch=1"], stdout=subprocess.PIPE, bufsize=0)
    try:
        assert [json.loads(line)["generation"] for line in read_lines(process, 2)] == [3, 3]
    finally:
        process.kill()
        process.communicate()


# --- finding a node that answers ---


def test_the_next_node_is_asked_when_one_does_not_listen(node):
    dead = "http://127.0.0.1:%d" % closed_port()
    assert run("--node", dead + "," + node.url, "cluster", "status").returncode == 0
    done = run("cluster", "status", shell_env={"MHA_NODE": dead})
    assert done.returncode == 3
    assert dead in done.stderr and "hint: " in done.stderr


def test_a_node_that_is_cut_off_is_passed_over_but_its_words_are_kept(node, other):
    node.answers["GET", "/v1/status"] = (503, {"version": 1, "error": "no_quorum", "message": "n1 hears nobody"})
    assert run("--node", node.url + "," + other.url, "cluster", "status").returncode == 0
    dead = "http://127.0.0.1:%d" % closed_port()
    done = run("--node", node.url + "," + dead, "cluster", "status")
    assert (done.returncode, done.stderr.splitlines()[0]) == (4, "mha-shell: n1 hears nobody")


def test_a_frozen_node_is_passed_over(node):
    with socket.socket() as frozen:  # the kernel connects, nobody answers
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        url = "http://127.0.0.1:%d" % frozen.getsockname()[1]
        assert run("--node", url + "," + node.url, "cluster", "status").returncode == 0
        done = run("--node", url, "cluster", "status")
        assert (done.returncode, "no answer within 3 s" in done.stderr) == (3, True)


def test_an_order_goes_to_the_node_that_has_a_quorum_and_to_no_other(node, other):
    node.answers["GET", "/v1/groups"] = (503, {"version": 1, "error": "no_quorum", "message": "n1 hears nobody"})
    assert run("--node", node.url + "," + other.url, "-y", "group", "failover", "main").returncode == 0
    assert [r for r in node.requests if r[0] == "POST"] == []
    assert [r for r in other.requests if r[0] == "POST"] == [("POST", "/v1/groups/main/failover", {"force": False})]


def test_an_order_without_an_answer_is_not_sent_twice(node, other):
    node.answers["POST", "/v1/groups/main/switchover"] = "silence"
    done = run("--node", node.url + "," + other.url, "-y", "group", "switchover", "main")
    assert done.returncode == 6
    assert "may have been carried out" in done.stderr
    assert [r[0] for r in node.requests + other.requests].count("POST") == 1


def test_init_asks_the_first_node_only(node):
    dead = "http://127.0.0.1:%d" % closed_port()
    assert run("--node", dead + "," + node.url, "cluster", "init").returncode == 3
    assert node.requests == []
    done = at(node, "cluster", "init")
    assert (done.returncode, done.stdout) == (0, "cluster lab is made, uuid 0f0e\n")
    assert node.requests == [("POST", "/v1/cluster/init", {})]


def test_another_version_or_another_program_is_named(node):
    node.answers["GET", "/v1/status"] = (200, {"version": 2})
    done = at(node, "cluster", "status")
    assert (done.returncode, "version 2" in done.stderr) == (1, True)
    node.answers["GET", "/v1/status"] = (200, b"<html>hello</html>")
    done = at(node, "cluster", "status")
    assert (done.returncode, "does not answer like mhad" in done.stderr) == (1, True)


@pytest.mark.parametrize("status, error, code", [
    (400, "invalid", 2), (404, "not_found", 1), (409, "refused", 5), (409, "exists", 5), (503, "no_quorum", 4), (503, "unreachable", 3),
    (500, "io", 1), (500, "sql", 1), (500, "a word of tomorrow", 1),
])
def test_every_refusal_has_its_exit_code_message_and_hint(node, status, error, code):
    node.answers["POST", "/v1/groups/main/pause"] = (status, {"version": 1, "error": error, "message": "not now", "hint": "tomorrow"})
    done = at(node, "group", "pause", "main")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "mha-shell: not now\nhint: tomorrow\n")


# --- certificates, and the unix socket ---


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Pki:
    """A CA and what it signs, each certificate with a directory of its own as mha-shell wants it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=a CA", "-keyout",
                folder / "ca.key", "-out", folder / "ca.pem")

    def make(self, name, san="DNS:nobody", days=30):
        own = self.folder / name
        own.mkdir()
        shutil.copy(self.folder / "ca.pem", own / "ca.pem")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", own / "admin.key", "-out",
                own / "request")
        (own / "ext").write_text("subjectAltName=" + san)
        openssl("x509", "-req", "-in", own / "request", "-CA", self.folder / "ca.pem", "-CAkey", self.folder / "ca.key", "-days", days, "-extfile",
                own / "ext", "-out", own / "admin.pem")
        return own

    def serve(self, own, clients=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own / "admin.pem", own / "admin.key")
        context.load_verify_locations(clients or self.folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return Standin(tls=context)


@pytest.fixture(name="pki", scope="module")
def one_pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki") / "own")


@pytest.fixture(name="admin", scope="module")
def one_admin(pki):
    return pki.make("alice")


@pytest.fixture(name="secure")
def secure_node(pki, admin, tmp_path):
    if not (pki.folder / "n1").exists():
        pki.make("n1", "DNS:n1,IP:127.0.0.1")
    node = pki.serve(pki.folder / "n1")
    yield node
    node.close()


def test_a_node_is_asked_over_tls_with_an_administrators_certificate(secure, admin):
    done = at(secure, "--tls-dir", str(admin), "-f", "json", "cluster", "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == STATUS
    assert at(secure, "-y", "group", "switchover", "main", shell_env={"MHA_TLS_DIR": str(admin)}).returncode == 0
    assert secure.requests[-1] == ("POST", "/v1/groups/main/switchover", {})
    # where certificates are, a host without a scheme is asked over TLS
    assert run("--node", secure.url.removeprefix("https://"), "--tls-dir", str(admin), "cluster", "status").returncode == 0


def test_missing_certificate_files_are_named(secure, tmp_path):
    done = at(secure, "--tls-dir", str(tmp_path), "cluster", "status")
    assert (done.returncode, secure.requests) == (2, [])
    assert "%s/ca.pem cannot be read" % tmp_path in done.stderr and "mha-shell cert issue" in done.stderr


def test_a_node_of_another_ca_is_not_asked(secure, tmp_path):
    other = Pki(tmp_path / "other").make("alice")
    done = at(secure, "--tls-dir", str(other), "cluster", "status")
    assert (done.returncode, secure.requests) == (5, [])
    assert "is not signed by the CA in %s/ca.pem" % other in done.stderr


def test_a_node_under_another_name_or_with_an_expired_certificate_is_not_asked(pki, admin):
    for name, san, days, words in (("n2", "DNS:n2,IP:10.77.0.12", 30, "does not fit"), ("n3", "IP:127.0.0.1", -1, "has expired")):
        node = pki.serve(pki.make(name, san, days))
        try:
            done = at(node, "--tls-dir", str(admin), "cluster", "status")
            assert (done.returncode, node.requests) == (5, [])
            assert words in done.stderr
        finally:
            node.close()


def test_a_refused_certificate_of_ours_is_named(pki, tmp_path, admin):
    other = Pki(tmp_path / "other")
    mixed = other.make("mallory")
    shutil.copy(pki.folder / "ca.pem", mixed / "ca.pem")  # trusts the node, but the node does not trust it
    if not (pki.folder / "n4").exists():
        pki.make("n4", "IP:127.0.0.1")
    node = pki.serve(pki.folder / "n4")
    try:
        for words in (("cluster", "status"), ("cluster", "init")):
            done = at(node, "--tls-dir", str(mixed), *words)
            # The alert gets lost when the reset that follows it is faster.
            assert done.returncode in (3, 5, 6) and node.requests == [], done.stderr
            assert "refuses the certificate in %s/admin.pem" % mixed in done.stderr or "may refuse the certificate in" in done.stderr
    finally:
        node.close()


def test_plain_http_to_a_tls_port_says_what_may_be_wrong(secure):
    done = run("--node", secure.url.replace("https", "http"), "cluster", "status")
    assert (done.returncode, "does it want https://?" in done.stderr) == (3, True)


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_is_told_so(node, status):
    node.answers["GET", "/v1/status"] = (status, {"version": 1, "error": "refused", "message": "user x may not administer this node"})
    done = at(node, "cluster", "status")
    assert (done.returncode, done.stderr.splitlines()[0]) == (5, "mha-shell: user x may not administer this node")


def test_a_unix_socket_is_asked(tmp_path):
    node = Standin(path=str(tmp_path / "api.sock"))
    try:
        done = at(node, "-f", "json", "cluster", "status")
        assert (done.returncode, json.loads(done.stdout)) == (0, STATUS)
        assert at(node, "cluster", "init").returncode == 0
    finally:
        node.close()
    done = at(node, "cluster", "status")
    assert (done.returncode, "unix:%s/api.sock: nobody listens there" % tmp_path in done.stderr) == (3, True)


# --- changing ---


def test_a_switchover_prints_the_new_primary(node):
    done = at(node, "-y", "group", "switchover", "main")
    assert (done.returncode, done.stdout, done.stderr) == (0, "group main: primary is now n2, after 0.21 s (operation 7)\n", "")
    assert node.requests[-1] == ("POST", "/v1/groups/main/switchover", {})
    done = at(node, "-y", "-f", "json", "group", "switchover", "main")
    assert json.loads(done.stdout) == {"version": 1, "operation": 7, "primary": "n2", "seconds": 0.21}


def test_without_a_terminal_and_without_y_nothing_is_done(node):
    for words in (("switchover", "main"), ("failover", "main"), ("failover", "main", "--force")):
        done = at(node, "group", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "-y" in done.stderr.splitlines()[-1] and "hint: " in done.stderr
    assert not any(r[0] == "POST" for r in node.requests)


def test_a_forced_failover_says_so(node):
    assert at(node, "-y", "group", "failover", "main", "--force", "--to", "n2").returncode == 0
    assert node.requests[-1] == ("POST", "/v1/groups/main/failover", {"to": "n2", "force": True})


def test_an_unknown_group_or_node_is_suggested_and_nothing_is_sent(node):
    done = at(node, "-y", "group", "switchover", "mian")
    assert (done.returncode, done.stderr) == (1, 'mha-shell: there is no group "mian": did you mean main?\n')
    assert at(node, "-y", "group", "switchover", "main", "--to", "elsewhere").returncode == 1
    assert not any(r[0] == "POST" for r in node.requests)


def test_pause_and_resume_tell_what_that_means(node):
    done = at(node, "group", "pause", "main")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no failover happens by itself" in done.stderr
    assert at(node, "group", "resume", "main").returncode == 0


@pytest.mark.parametrize("form, expected", [
    ("table", "operation 12 is still running\n"), ("csv", "operation\n12\n"),
])
def test_what_still_runs_ends_with_6_and_its_number(node, form, expected):
    node.answers["POST", "/v1/groups/main/failover"] = (504, {"version": 1, "error": "timeout", "message": "n2 replays its log", "operation": 12})
    done = at(node, "-y", "-f", form, "group", "failover", "main")
    assert (done.returncode, done.stdout) == (6, expected)
    assert "n2 replays its log" in done.stderr and "hint: " in done.stderr


# --- words ---


def test_help_and_version_need_no_node():
    assert "group switchover GROUP" in run("help").stdout
    assert "--force" in run("help", "group", "failover").stdout
    assert run("group", "failover", "--help").returncode == 0
    assert run("--version").stdout == run("version").stdout
    assert json.loads(run("-f", "json", "version").stdout)["program"] == "mha-shell"


@pytest.mark.parametrize("words, expected", [
    (("cluster", "stauts"), 'did you mean "cluster status"?'), (("grup", "list"), 'did you mean "group"?'), (("cluster",), "cluster needs a verb"),
    (("-f", "xml", "cluster", "status"), "table, json or csv"), (("cluster", "status", "--forse"), "did you mean --force?"),
    (("cluster", "init", "--watch"), "does not take --watch"), (("--node", "http://x:99999", "version"), "not a URL"),
])
def test_wrong_words_end_with_2_and_say_what_was_meant(words, expected):
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


# --- the prompt ---


class Terminal:
    """The shell on a pseudo terminal."""

    def __init__(self, home, *words):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # libedit never frees the names of the functions that a program adds (EL_ADDFN): no leak check here in a sanitizer build.
            env = dict(os.environ, HOME=str(home), TERM="xterm", NO_COLOR="1", LC_ALL="C.UTF-8", ASAN_OPTIONS="detect_leaks=0")
            os.execve(SHELL, [SHELL, *words], env)

    def expect(self, text):
        """Read until text has come; returns what came up to its end, and forgets that."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.text and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    break
                self.text += data.decode(errors="replace")
        assert text in self.text, self.text
        before, self.text = self.text.split(text, 1)
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        """Exit code, after the end of what the shell writes."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                if select.select([self.fd], [], [], 0.2)[0] and not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


PROMPT = "]> "


def test_the_prompt_says_who_leads_and_that_a_node_is_offline(node, tmp_path):
    t = Terminal(tmp_path, "--node", node.url)
    for _ in range(WAIT_SECONDS):  # the shell gives a status one second: on a busy machine the next prompt may be the first to know it
        if t.expect(PROMPT).endswith("lab[leader:n1 degraded"):
            break
        t.type("\n")
    else:
        pytest.fail("no prompt ever named the leader")
    t.type("quit\n")
    assert t.close() == 0


def test_the_prompt_completes_runs_and_remembers(node, tmp_path):
    t = Terminal(tmp_path, "--node", node.url)
    t.expect(PROMPT)
    t.type("cl\tst\t\n")
    t.expect("group main: postgresql")
    t.expect(PROMPT)
    t.type("half a li\x03")  # Ctrl-C throws the line away, not the shell
    t.expect("^C")
    t.type("\n")  # a key pressed before the editor listens shows no prompt of its own; an empty line does
    t.expect(PROMPT)
    t.type("vip lits\n")
    t.expect('did you mean "vip list"?')
    t.expect(PROMPT)
    t.type("\x04")
    assert t.close() == 0
    history = tmp_path / ".mha_history"
    assert "cluster" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_the_prompt_asks_before_it_interrupts_clients(node, tmp_path):
    t = Terminal(tmp_path, "--node", node.url)
    t.expect(PROMPT)
    t.type("group switchover main --to n2\n")
    t.expect("n1 hands over to n2")
    t.expect("go on? [y/N] ")
    t.type("n\n")
    t.expect("not done: the answer was no")
    t.expect(PROMPT)
    t.type("group failover main --force\n")
    t.expect('type "main" to go on: ')
    t.type("y\n")
    t.expect("not done")
    assert not any(r[0] == "POST" for r in node.requests)
    t.expect(PROMPT)
    t.type("group failover main --force\n")
    t.expect('type "main" to go on: ')
    t.type("main\n")
    t.expect("primary is now n2")
    t.expect(PROMPT)
    t.type("quit\n")
    assert t.close() == 0


def test_ctrl_c_ends_following_not_the_shell(node, tmp_path):
    t = Terminal(tmp_path, "--node", node.url)
    t.expect(PROMPT)
    t.type("cluster events --follow\n")
    t.expect("fence it")
    node.add_event(event(3, "n2 is promoted"))
    t.expect("n2 is promoted")
    t.type("\x03")
    t.expect(PROMPT)
    t.type("quit\n")
    assert t.close() == 0


def test_commands_from_a_pipe_stop_at_the_first_failure(node):
    done = at(node, stdin="vip list\nvip lits\nnode list\n")
    assert done.returncode == 2
    assert "10.77.0.100" in done.stdout and "HEARTBEAT" not in done.stdout


# --- SQL ---


@pytest.fixture(scope="module", name="server")
def sql_server(tmp_path_factory):
    if not os.access(PG_BIN + "/initdb", os.X_OK):
        pytest.skip("PostgreSQL 15's server programs are not installed")
    folder = tmp_path_factory.mktemp("pg")
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        for parent in [folder, *list(folder.parents)[:2]]:
            os.chmod(parent, 0o755)
        shutil.chown(folder, "postgres")
    port = closed_port()
    options = "-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off" % (port, folder)
    subprocess.run([*user, PG_BIN + "/initdb", "-A", "trust", "-U", "app", "-D", str(folder / "d")], check=True, capture_output=True, cwd="/")
    subprocess.run([*user, PG_BIN + "/pg_ctl", "-D", str(folder / "d"), "-o", options, "-l", str(folder / "log"), "-w", "start"], check=True,
                   stdout=subprocess.DEVNULL, cwd="/")
    yield ["--sql-host", "127.0.0.1", "--sql-port", str(port), "-U", "app", "-d", "postgres"]
    subprocess.run([*user, PG_BIN + "/pg_ctl", "-D", str(folder / "d"), "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")


def test_a_query_as_table_json_and_csv(server):
    query = "SELECT 1 AS id, 'größe' AS name, NULL AS n, true AS ok"
    done = run(*server, "sql", "-c", query)
    assert done.stdout.splitlines() == [" id | name  | n | ok", "----+-------+---+----", "  1 | größe |   | t", "(1 row)"]
    done = run(*server, "-f", "json", "sql", "-c", query)
    assert json.loads(done.stdout)["rows"] == [{"id": 1, "name": "größe", "n": None, "ok": True}]
    assert run(*server, "-f", "csv", "sql", "-c", query).stdout == "id,name,n,ok\n1,größe,,t\n"


def test_an_sql_error_has_its_sqlstate_and_position(server):
    done = run(*server, "sql", "-c", "SELECT 1,\n  nowhere")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:3] == ['mha-shell: ERROR 42703: column "nowhere" does not exist', "LINE 2:   nowhere", "          ^"]


def test_a_file_is_run_up_to_the_first_error_which_names_its_line(server, tmp_path):
    path = tmp_path / "x.sql"
    path.write_text("SELECT 'a;b';\n-- c;\nSELECT 2;\n\nSELECT nowhere;\nSELECT 4")
    done = run(*server, "sql", "-f", str(path))
    assert done.returncode == 1
    assert "a;b" in done.stdout and "(1 row)" in done.stdout and " 4\n" not in done.stdout
    assert "statement at line 5" in done.stderr and "LINE 1: SELECT nowhere;" in done.stderr
    assert run(*server, "sql", stdin="SELECT 40 + 2").stdout.splitlines()[2].strip() == "42"
    done = run(*server, "sql", "-f", "json")
    assert done.returncode == 1 and "--format json" in done.stderr


def test_no_sql_port_is_unreachable_and_a_wrong_database_is_an_error(server):
    done = run("--sql-port", str(closed_port()), "sql", "-c", "SELECT 1")
    assert (done.returncode, "hint: " in done.stderr) == (3, True)
    assert run(*server, "-d", "nowhere", "sql", "-c", "SELECT 1").returncode == 1


def test_the_prompt_runs_sql_over_several_lines_and_ctrl_c_cancels_it(server, node, tmp_path):
    t = Terminal(tmp_path, "--node", node.url, *server)
    t.expect(PROMPT)
    t.type("SELECT 40\n")
    t.expect("...> ")
    t.type("+ 2;\n")
    t.expect("42")
    t.expect(PROMPT)
    t.type("BEGIN;\n")
    t.expect("]*> ")
    t.type("ROLLBACK;\n")
    t.expect(PROMPT)
    t.type("\\x\nSELECT 7 AS seven;\n")
    t.expect(" seven | 7")
    t.type("SELECT 'busy' FROM pg_sleep(60);\n")
    wait_for_query(server)
    t.type("\x03")
    t.expect("ERROR 57014")
    t.expect(PROMPT)
    t.type("vip list\n")
    t.expect("group:main")
    t.type("\\q\n")
    assert t.close() == 0


def wait_for_query(server):
    count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT ''busy''%'"
    deadline = time.monotonic() + WAIT_SECONDS
    while run(*server, "-f", "csv", "sql", "-c", count).stdout != "count\n1\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_relations_come_from_sqlite_schema(server):
    run(*server, "sql", "-c", "CREATE OR REPLACE VIEW sqlite_schema AS SELECT 'table' AS type, 'vm' AS name, 'vm' AS tbl_name,"
                              " E'CREATE TABLE vm (\\n  id INTEGER PRIMARY KEY)' AS sql")
    done = run(*server, stdin="\\d\n\\d vm\n\\d x'y\n")
    assert done.returncode == 0, done.stderr
    assert " table | vm" in done.stdout
    assert "CREATE TABLE vm (\n  id INTEGER PRIMARY KEY);\n" in done.stdout
    done = run(*server, stdin="\\nothing\nSELECT 1;\n")
    assert (done.returncode, done.stdout) == (2, "")
