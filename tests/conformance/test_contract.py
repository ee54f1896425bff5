"""What every driver must do. The names are the contract."""

import os
import signal
import subprocess
import time

import pytest

from dbd import (ABSENT, CHECKPOINT, CREATE, DETACH, FAST, FOLLOW, IMMEDIATE, INVAL, LEASE, NOTFOUND, OK, PRIMARY, PROMOTE, REBUILD, REFUSED, REPLICA, REPORT_NOW,
                 REWIND, RUNNING, START, STOP, STOPPED, SYNC_SET, TIMEOUT, UNKNOWN, UNREACHABLE, find_bin, ms_since, now_ns)


def primary(node, number=1, epoch=1, **promote):
    n = node(number)
    n.do(CREATE)
    n.promote(epoch, **promote)
    return n


def replica_of(up, node, number):
    n = node(number)
    n.epoch = up.epoch
    n.do(REBUILD, **up.peer())
    n.follow(up)
    n.wait(lambda r: r.is_receiving)
    return n


def wait_holds(user, n, count, seconds=10):
    end = time.monotonic() + seconds
    while user.holds(n) < count:
        assert time.monotonic() < end, "%s holds %d, not %d" % (n.name, user.holds(n), count)
        time.sleep(0.01)


def wait_for_file(path, text, seconds=10):
    end = time.monotonic() + seconds
    while not os.path.exists(path) or open(path).read() != text:
        assert time.monotonic() < end, "%s never became %r" % (path, text)
        time.sleep(0.01)


def refuses_writes(user, n):
    with pytest.raises(Exception):
        user.write(n)
    return True


def wait_exit(pid, seconds=10):
    end = time.monotonic() + seconds
    while os.path.exists("/proc/%d" % pid):
        assert time.monotonic() < end, "process %d still runs" % pid
        time.sleep(0.002)


def test_create_then_start_is_fenced_and_not_writable(user, node):
    n = node(1)
    assert n.fresh().process in (ABSENT, STOPPED)
    m = n.do(CREATE)
    assert m.report.process == STOPPED and m.report.system_id != b""
    r = n.do(START).report
    assert (r.process, r.role, r.is_receiving) == (RUNNING, REPLICA, 0), str(r)
    assert refuses_writes(user, n)


def test_create_again_changes_nothing(user, node):
    n = node(1)
    first = n.do(CREATE).report.system_id
    assert n.do(CREATE).report.system_id == first


def test_promote_makes_it_writable_within_a_second(user, node, took):
    n = node(1)
    n.do(CREATE)
    took("start (fenced)", n.do(START).took_ms)
    m = n.promote(1)
    took("promote of a running standby, until the reply", m.took_ms)
    assert m.took_ms < 1000 and m.report.role == PRIMARY and m.report.promoted_epoch == 1 and m.report.epoch == 1
    user.write(n)
    again = n.promote(1)
    assert again.took_ms < 500 and again.report.role == PRIMARY


def test_promote_starts_a_stopped_server(user, node, took):
    n = node(1)
    n.do(CREATE)
    m = n.promote(1)
    took("promote of a stopped server", m.took_ms)
    user.write(n)
    assert m.report.role == PRIMARY


def test_a_promotion_without_any_lease_is_refused(user, node):
    n = node(1)
    n.do(CREATE)
    assert n.ask(PROMOTE, epoch=1).rc == REFUSED
    assert n.ask(PROMOTE, epoch=1, deadline_ns=now_ns() - 1000).rc == REFUSED


def test_a_promotion_with_only_a_grace_is_fenced_at_its_end(user, node):
    n = node(1)
    n.do(CREATE)
    n.do(START)
    n.do(PROMOTE, epoch=1, grace_ms=1500)
    user.write(n)
    n.wait(lambda r: r.process == STOPPED, 5)


def test_a_replica_cloned_by_rebuild_streams(user, node, took):
    p = primary(node)
    user.write(p)
    held = user.holds(p)
    n = node(2)
    n.epoch = 1
    took("rebuild of a small database", n.do(REBUILD, **p.peer()).took_ms)
    n.follow(p)
    r = n.wait(lambda r: r.is_receiving)
    assert r.role == REPLICA and r.upstream == b"n1" and r.system_id == p.fresh().system_id
    wait_holds(user, n, held)
    user.write(p)
    wait_holds(user, n, held + 1)
    seen = p.wait(lambda r: r.standby_count == 1 and r.standbys[0].is_streaming)
    assert seen.standby("n2") is not None
    assert refuses_writes(user, n)


def test_follow_repoints_without_a_restart(user, node, took):
    p = primary(node)
    user.write(p)
    b, c = replica_of(p, node, 2), replica_of(p, node, 3)
    pid = c.server_pid()
    p.do(STOP, mode=FAST)
    b.do(DETACH)
    b.promote(2)
    start = time.monotonic()
    c.epoch = 2
    c.follow(b)
    took("follow, until the reply", ms_since(start))
    c.wait(lambda r: r.is_receiving and r.upstream == b"n2")
    took("follow, until it streams from the new primary", ms_since(start))
    assert c.server_pid() == pid
    user.write(b)
    wait_holds(user, c, user.holds(b))


def test_detach_stops_receiving_and_reports_a_final_position(user, node, took):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    m = n.do(DETACH)
    took("detach", m.took_ms)
    assert m.report.is_detached and not m.report.is_receiving and m.report.upstream == b""
    final = m.report.position
    user.write(p)
    assert n.fresh().position == final
    assert p.fresh().position > final
    n.follow(p)
    n.wait(lambda r: r.is_receiving and not r.is_detached)
    wait_holds(user, n, user.holds(p))


def test_a_restarted_replica_that_is_detached_knows_all_it_has(user, node):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    wait_holds(user, n, user.holds(p))
    had = n.fresh().position
    n.do(STOP, mode=IMMEDIATE)
    n.do(START)
    assert n.do(DETACH).report.position >= had


def test_sync_set_makes_commits_wait(user, node, took):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    m = p.do(SYNC_SET, sync_members="n2,n3", sync_count=1)
    took("sync_set", m.took_ms)
    assert m.report.sync_members == b"n2,n3" and 0 < m.report.sync_since <= m.report.position
    r = p.wait(lambda r: r.standby_count == 1 and r.standbys[0].is_sync)
    assert r.standby("n2").flushed > 0
    user.write(p)
    n.do(STOP, mode=IMMEDIATE)
    with pytest.raises(Exception):
        user.write(p, 2)
    assert p.do(SYNC_SET).report.sync_members == b""
    user.write(p)


def test_sync_members_are_in_force_before_the_first_write(user, node):
    n = node(1)
    n.do(CREATE)
    m = n.promote(1, members="n2", count=1)
    assert m.report.sync_members == b"n2" and m.report.sync_since > 0
    with pytest.raises(Exception):
        user.write(n, 2)


def test_checkpoint_and_fast_stop_is_clean(user, node, took):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    user.write(p)
    p.do(CHECKPOINT)
    m = p.do(STOP, mode=FAST)
    took("fast stop after a checkpoint, with a replica", m.took_ms)
    assert m.report.process == STOPPED and m.report.is_clean and m.report.position > 0
    n.wait(lambda r: r.position >= m.report.position)


def test_immediate_stop_is_quick_and_not_clean(user, node, took):
    p = primary(node)
    user.write(p)
    m = p.do(STOP, mode=IMMEDIATE)
    took("immediate stop", m.took_ms)
    assert m.report.process == STOPPED and not m.report.is_clean


def test_kill_of_the_server_is_reported_at_once_and_it_restarts_at_once(user, node, took):
    p = primary(node)
    user.write(p)
    held = user.holds(p)
    pid = p.server_pid()
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    r = p.wait(lambda r: r.process == STOPPED, 5)
    assert took("kill -9 of the server, until reported", ms_since(start)) < 500
    assert b"signal 9" in r.last_error
    start = time.monotonic()
    p.promote(2)
    took("promote in place after kill -9", ms_since(start))
    user.write(p)
    assert user.holds(p) == held + 1


def test_a_lapsed_lease_stops_the_primary(user, node, took):
    p = primary(node)
    pid = p.server_pid()
    deadline = time.monotonic() + 0.5
    p.lease(500)
    wait_exit(pid)
    assert took("lapsed lease, deadline until the server has ended", (time.monotonic() - deadline) * 1000) < 800
    r = p.wait(lambda r: r.process == STOPPED)
    assert r.role == UNKNOWN


def test_a_lapsed_lease_stops_the_primary_with_its_workers_frozen(user, node, took):
    p = primary(node)
    pid = p.server_pid()
    deadline = time.monotonic() + 0.5
    p.lease(500)
    os.kill(p.worker_pid("probe"), signal.SIGSTOP)
    os.kill(p.worker_pid("verb"), signal.SIGSTOP)
    wait_exit(pid)
    assert took("the same with both workers SIGSTOPped", (time.monotonic() - deadline) * 1000) < 800


def test_a_lapsed_lease_ends_a_frozen_server(user, node, took):
    p = primary(node)
    pid = p.server_pid()
    deadline = time.monotonic() + 0.5
    p.lease(500)
    os.kill(pid, signal.SIGSTOP)
    wait_exit(pid)
    assert took("the same with the server SIGSTOPped", (time.monotonic() - deadline) * 1000) < 1500


def test_a_grace_is_added_to_the_deadline_but_not_to_a_past_one(user, node):
    p = primary(node)
    pid = p.server_pid()
    start = time.monotonic()
    p.lease(300, grace_ms=700)
    wait_exit(pid)
    assert ms_since(start) > 950
    p.promote(2)
    pid = p.server_pid()
    start = time.monotonic()
    p.do(LEASE, deadline_ns=now_ns() - 1, grace_ms=5000)
    wait_exit(pid)
    assert ms_since(start) < 2000


def test_a_renewed_lease_keeps_the_primary(user, node):
    p = primary(node, lease_ms=800)
    pid = p.server_pid()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        p.lease(800)
        time.sleep(0.2)
    assert p.fresh().role == PRIMARY and p.server_pid() == pid
    user.write(p)


def test_a_replica_needs_no_lease(user, node):
    n = node(1)
    n.do(CREATE)
    n.do(START)
    n.lease(100)
    with pytest.raises(AssertionError):
        n.wait(lambda r: r.process != RUNNING, 2)


def test_a_stopped_prober_is_replaced_and_the_server_is_unaffected(user, node, took):
    p = primary(node)
    server, worker = p.server_pid(), p.worker_pid("probe")
    start = time.monotonic()
    os.kill(worker, signal.SIGSTOP)
    wait_exit(worker)
    took("SIGSTOPped prober, until killed", ms_since(start))
    p.wait(lambda r: r.is_accepting and 0 <= r.probe_age_ms < 300)
    assert p.server_pid() == server and p.worker_pid("probe") not in (None, worker)
    user.write(p)


def test_a_killed_worker_answers_its_verb_with_timeout(user, node):
    p = primary(node)
    pid, worker = p.server_pid(), p.worker_pid("verb")
    os.kill(pid, signal.SIGSTOP)  # so that the verb cannot end
    seq = p.send(SYNC_SET, sync_members="n2", sync_count=1)
    os.kill(worker, signal.SIGKILL)
    assert p.reply(seq, 10).rc in (TIMEOUT, UNREACHABLE)
    os.kill(pid, signal.SIGCONT)
    p.do(SYNC_SET)
    assert p.server_pid() == pid and p.worker_pid("verb") not in (None, worker)


def test_peers_are_named_while_a_verb_runs_and_known_to_the_next_guard(user, node):
    """Not bound to an epoch, and never in the way of a verb."""
    n = primary(node, epoch=3)
    kept = n.dir + "/state/dbd/main/peers"
    nobody = {"peer_node": "n9", "peer_host": "127.0.0.1", "peer_port": 1}
    n.do(STOP, mode=FAST)
    waiting = n.send(START, **nobody)
    assert n.name_peers("127.0.0.1", "127.0.0.2").rc == OK
    n.reply(waiting)
    wait_for_file(kept, "127.0.0.1\n127.0.0.2\n")
    for wrong in ("n2", "127.0.0.0/8", ""):
        m = n.name_peers("127.0.0.1", wrong)
        assert m.rc == INVAL and ("\"%s\"" % wrong) in m.text.decode()
    assert n.name_peers("127.0.0.1", count=17).rc == INVAL
    assert n.name_peers("127.0.0.1").rc == OK
    wait_for_file(kept, "127.0.0.1\n")
    worker = n.worker_pid("verb")
    os.kill(worker, signal.SIGKILL)
    assert n.name_peers("127.0.0.3").rc == OK
    wait_for_file(kept, "127.0.0.3\n")
    n.promote(4)


def test_a_stop_interrupts_a_verb(user, node):
    p = primary(node)
    n = node(2)
    n.epoch = 1
    other = p.peer()
    os.kill(p.server_pid(), signal.SIGSTOP)
    first = n.send(REBUILD, **other)
    busy = n.ask(DETACH)
    assert busy.rc == REFUSED and b"busy with rebuild" in busy.text
    assert n.do(STOP, mode=IMMEDIATE).took_ms < 3000
    assert n.reply(first, 1).rc != OK
    os.kill(p.server_pid(), signal.SIGCONT)


def test_a_killed_guard_is_replaced_and_the_server_goes_on(user, node, took):
    p = primary(node)
    pid = p.server_pid()
    p.lease(8000)
    p.kill_guard()
    user.write(p)
    start = time.monotonic()
    p.start()
    took("a new guard, until it serves", ms_since(start))
    r = p.wait(lambda r: r.role == PRIMARY)
    assert p.server_pid() == pid and r.epoch == 1 and r.promoted_epoch == 1 and r.sync_since > 0
    user.write(p)
    p.lease(600)
    wait_exit(pid)
    p.wait(lambda r: r.process == STOPPED)
    p.promote(2)
    user.write(p)


def test_a_new_guard_stops_a_primary_whose_lease_lapsed_meanwhile(user, node):
    p = primary(node)
    pid = p.server_pid()
    p.lease(300)
    p.kill_guard()
    time.sleep(0.5)
    assert os.path.exists("/proc/%d" % pid)
    p.start()
    wait_exit(pid)


def test_a_new_guard_without_its_lease_file_stops_a_primary(user, node):
    p = primary(node)
    pid = p.server_pid()
    p.kill_guard()
    os.unlink(p.dir + "/run/dbd-main.lease")
    p.start()
    wait_exit(pid)
    p.wait(lambda r: r.process == STOPPED)
    assert p.fresh().epoch == 1


def test_a_second_guard_of_the_group_does_not_start(user, node):
    p = primary(node)
    second = subprocess.run([find_bin("mha-dbd"), "--config", p.dir + "/node.yaml", "--group", "main"], capture_output=True, timeout=20, check=False)
    assert second.returncode == 1 and b"another mha-dbd" in second.stderr
    p.sock.close()
    p.connect()
    user.write(p)


def test_a_frozen_guard_stops_a_lapsed_primary_when_it_wakes(user, node):
    p = primary(node)
    pid = p.server_pid()
    p.lease(300)
    os.kill(p.proc.pid, signal.SIGSTOP)
    time.sleep(0.6)
    assert os.path.exists("/proc/%d" % pid)
    os.kill(p.proc.pid, signal.SIGCONT)
    wait_exit(pid, 1)


def test_a_malformed_packet_ends_the_connection_and_nothing_else(user, node):
    p = primary(node)
    p.sock.send(b"hello")
    end = time.monotonic() + 5
    while p.sock.recv(65536):
        assert time.monotonic() < end
    p.sock.close()
    p.connect()
    unknown = p.send(77)
    assert p.reply(unknown).rc not in (OK, TIMEOUT)
    p.lease(5000)
    user.write(p)


def test_a_newer_connection_replaces_the_older(user, node):
    p = primary(node)
    old = p.sock
    p.connect()
    p.lease(5000)
    old.settimeout(5)
    while old.recv(65536):
        pass
    old.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_stranger_may_not_give_orders(user, node):
    p = primary(node)
    os.chmod(p.dir + "/run/dbd-main.sock", 0o666)
    script = ("import socket,sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(5); s.connect(sys.argv[1]);"
              "sys.exit(0 if s.recv(65536) == b'' else 1)")
    stranger = subprocess.run(["/usr/bin/python3", "-c", script, p.dir + "/run/dbd-main.sock"], user="nobody", timeout=20, check=False)
    assert stranger.returncode == 0
    p.lease(5000)


def test_a_control_process_that_does_not_read_holds_nothing_up(user, node):
    p = primary(node)
    pid = p.server_pid()
    p.lease(2500)
    time.sleep(4)  # reports pile up meanwhile
    assert not os.path.exists("/proc/%d" % pid)


def test_a_lower_epoch_is_refused_even_after_a_restart(user, node):
    p = primary(node, epoch=5)
    m = p.ask(PROMOTE, epoch=4, deadline_ns=now_ns() + 10**10)
    assert m.rc == REFUSED and b"epoch 4" in m.text and b"5" in m.text
    assert p.ask(LEASE, epoch=4, deadline_ns=now_ns() + 10**9).rc == REFUSED
    assert p.ask(STOP, epoch=4, mode=FAST).rc == REFUSED
    p.end()
    os.unlink(p.dir + "/run/dbd-main.lease")
    p.start()
    assert p.ask(FOLLOW, epoch=4, **p.peer()).rc == REFUSED
    assert p.fresh().promoted_epoch == 5


def test_an_old_primary_rejoins_by_rewind_after_divergent_writes(user, node, took):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    wait_holds(user, n, user.holds(p))
    n.do(DETACH)
    user.write(p)  # acknowledged by the old primary alone
    p.do(STOP, mode=IMMEDIATE)
    n.promote(2)
    user.write(n)
    user.write(n)
    p.epoch = 2
    m = p.do(REWIND, system_id=n.system_id(), **n.peer())
    took("rewind of a small database", m.took_ms)
    assert m.report.process == STOPPED and m.report.promoted_epoch == 0 and m.report.epoch == 2
    p.follow(n)
    p.wait(lambda r: r.is_receiving and r.role == REPLICA)
    wait_holds(user, p, user.holds(n))
    user.write(n)
    wait_holds(user, p, user.holds(n))
    assert user.holds(p) == user.holds(n)


def test_an_old_primary_that_was_started_fenced_can_still_be_rewound(user, node):
    p = primary(node)
    user.write(p)
    n = replica_of(p, node, 2)
    n.do(DETACH)
    user.write(p)
    os.kill(p.server_pid(), signal.SIGKILL)
    p.wait(lambda r: r.process == STOPPED)
    n.promote(2)
    user.write(n)
    user.write(n)
    p.epoch = 2
    p.do(START)
    p.do(STOP, mode=IMMEDIATE)
    p.do(REWIND, **n.peer())
    p.follow(n)
    p.wait(lambda r: r.is_receiving)
    wait_holds(user, p, user.holds(n))


def test_rebuild_replaces_what_cannot_be_rewound(user, node):
    p, other = primary(node), primary(node, 2)
    user.write(p)
    other.do(STOP, mode=FAST)
    system_id = p.system_id()
    m = other.ask(REWIND, system_id=system_id, **p.peer())
    assert m.rc == REFUSED
    other.do(REBUILD, system_id=system_id, **p.peer())
    other.follow(p, system_id=system_id)
    other.wait(lambda r: r.is_receiving)
    wait_holds(user, other, user.holds(p))
    assert [f for f in os.listdir(other.data) if f.startswith(".mha")] == []


def test_a_failed_rebuild_leaves_the_old_data(user, node):
    p = primary(node)
    user.write(p)
    p.do(STOP, mode=FAST)
    m = p.ask(REBUILD, peer_node="n2", peer_host="127.0.0.1", peer_port=1)
    assert m.rc != OK and p.fresh().last_error != b""
    p.promote(2)
    assert user.holds(p) >= 1


def test_another_system_identifier_is_refused_naming_both(user, node):
    p = primary(node)
    own = p.system_id()
    for order in ((PROMOTE, {"deadline_ns": now_ns() + 10**10}), (FOLLOW, p.peer()), (START, {})):
        if order[0] != PROMOTE:
            p.do(STOP, mode=FAST)
        m = p.ask(order[0], system_id="42", epoch=1, **order[1])
        assert m.rc == REFUSED and own.encode() in m.text and b"42" in m.text, m.text


def test_a_refused_promotion_leaves_the_replica_a_replica(user, node):
    n = node(1)
    n.do(CREATE)
    n.do(START)
    assert n.ask(PROMOTE, epoch=1, system_id="42", deadline_ns=now_ns() + 300 * 10**6).rc == REFUSED
    with pytest.raises(AssertionError):
        n.wait(lambda r: r.process != RUNNING, 1.5)


def test_a_missing_program_is_named(user, node):
    n = node(1, bin_dir="/nonexistent/bin")
    m = n.ask(CREATE)
    assert m.rc == NOTFOUND and b"/nonexistent/bin/" in m.text and b"bin_dir" in m.text


def test_a_running_primary_refuses_to_follow_and_to_be_rebuilt(user, node):
    p = primary(node)
    peer = {"peer_node": "n2", "peer_host": "127.0.0.1", "peer_port": 1}
    for verb in (FOLLOW, START, REBUILD, REWIND):
        assert p.ask(verb, **peer).rc == REFUSED
    user.write(p)


def test_no_restart_comes_up_writable(user, node):
    p = primary(node)
    user.write(p)
    for way in ("fast", "immediate", "kill"):
        if way == "kill":
            os.kill(p.server_pid(), signal.SIGKILL)
            p.wait(lambda r: r.process == STOPPED)
        else:
            p.do(STOP, mode=FAST if way == "fast" else IMMEDIATE)
        assert p.do(START).report.role == REPLICA
        assert refuses_writes(user, p)
        p.promote(p.epoch + 1)
        user.write(p)


def test_mha_dbd_stops_its_server_when_it_is_ended(user, node, took):
    p = primary(node)
    pid = p.server_pid()
    start = time.monotonic()
    p.proc.terminate()
    assert p.proc.wait(10) == 0
    took("SIGTERM, until ended", ms_since(start))
    assert not os.path.exists("/proc/%d" % pid)


def test_reports_come_regularly_and_a_fresh_one_within_its_limit(user, node, took):
    p = primary(node)
    start, count = time.monotonic(), 0
    while ms_since(start) < 2000:
        m = p.receive(1)
        assert m is not None
        count += 1
        assert m.report.probe_age_ms < 500
    assert count >= 8
    assert took("report_now", p.do(REPORT_NOW).took_ms) < 150
