"""What is special to PostgreSQL."""

import os
import pwd
import signal
import subprocess
import time

import pytest

from conftest import PostgreSQL, why_not
from dbd import (CREATE, FAST, FOLLOW, IMMEDIATE, OK, PRIMARY, PROMOTE, REBUILD, REFUSED, REPLICA, REWIND, START, STOP, STOPPED, SYNC_SET,
                 now_ns)

BIN = "/usr/lib/postgresql/15/bin/"


@pytest.fixture
def user():
    if why_not("postgresql"):
        pytest.skip(why_not("postgresql"))
    return PostgreSQL()


def as_postgres(*argv, **kwargs):
    become = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(argv, check=True, capture_output=True, cwd="/", timeout=60, **become, **kwargs)


def primary(node, number=1, epoch=1, **promote):
    n = node(number)
    n.do(CREATE)
    n.promote(epoch, **promote)
    return n


def value(user, n, sql):
    with user.connect(n) as conn:
        return conn.execute(sql).fetchone()[0]


def test_the_settings_that_failover_depends_on_win(user, node):
    p = primary(node)
    with user.connect(p) as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("ALTER SYSTEM SET primary_conninfo = 'host=nowhere'")
        conn.execute("ALTER SYSTEM SET work_mem = '5MB'")
    p.do(STOP, mode=FAST)
    p.promote(2)
    got = {name: value(user, p, "SHOW " + name) for name in ("fsync", "primary_conninfo", "work_mem", "shared_buffers", "restart_after_crash",
                                                              "data_checksums", "wal_log_hints")}
    assert got == {"fsync": "on", "primary_conninfo": "", "work_mem": "5MB", "shared_buffers": "16MB", "restart_after_crash": "off",
                   "data_checksums": "on", "wal_log_hints": "on"}


def test_a_setting_of_ours_that_is_overridden_while_running_is_an_error_that_says_so(user, node):
    p = primary(node)
    with user.connect(p) as conn:
        conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'other'")
    m = p.ask(SYNC_SET, sync_members="n2", sync_count=1)
    assert m.rc != OK and b"ALTER SYSTEM" in m.text


def test_a_lowered_setting_does_not_keep_the_server_down(user, node):
    p = primary(node)
    p.do(STOP, mode=FAST)
    with open(p.dir + "/node.yaml") as f:
        text = f.read().replace("max_connections=30", "max_connections=15")
    with open(p.dir + "/node.yaml", "w") as f:
        f.write(text)
    p.proc.terminate()
    p.proc.wait(10)
    p.start()
    p.promote(2)
    assert value(user, p, "SHOW max_connections") == "30"


def may_replicate(n):
    """Does the server let the replication user in from 127.0.0.1?"""
    done = subprocess.run([BIN + "psql", "-X", "-h", "127.0.0.1", "-p", str(n.port), "-U", "replicator", "-d", "replication=true dbname=postgres", "-c",
                           "IDENTIFY_SYSTEM"], capture_output=True, text=True, timeout=20, cwd="/")
    assert done.returncode == 0 or "no pg_hba.conf entry" in done.stderr, done.stderr
    return done.returncode == 0


def wait_replicate(n, wanted, seconds=10):
    end = time.monotonic() + seconds
    while may_replicate(n) != wanted:
        assert time.monotonic() < end, n.log()
        time.sleep(0.02)


def test_only_named_peers_may_replicate_without_a_restart_and_after_one(user, node):
    p = primary(node)
    pid = p.server_pid()
    assert may_replicate(p), "until somebody is named, the configuration's nodes may"
    assert p.name_peers("127.0.0.5", "fd00::1").rc == OK
    wait_replicate(p, False)
    assert p.name_peers("127.0.0.5", "127.0.0.1").rc == OK
    wait_replicate(p, True)
    assert p.name_peers("127.0.0.5").rc == OK
    wait_replicate(p, False)
    assert p.server_pid() == pid
    p.proc.terminate()
    p.proc.wait(20)
    p.start()
    p.promote(2)
    assert not may_replicate(p), "the next guard knows them before anybody has told it"
    assert p.name_peers().rc == OK
    assert p.name_peers("127.0.0.1").rc == OK
    wait_replicate(p, True)


def test_the_replication_user_is_no_superuser(user, node):
    p = primary(node)
    with user.connect(p) as conn:
        row = conn.execute("SELECT rolsuper, rolreplication, pg_has_role('replicator', 'pg_checkpoint', 'member') FROM pg_roles"
                           " WHERE rolname = 'replicator'").fetchone()
    assert row == (False, True, True)


def test_a_crashed_session_ends_the_server_instead_of_restarting_it(user, node):
    p = primary(node)
    with user.connect(p) as conn:
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        r = p.wait(lambda r: r.process == STOPPED, 5)
    assert b"by itself" in r.last_error


def test_sessions_do_not_outlive_a_killed_main_process(user, node):
    p = primary(node)
    conn = user.connect(p, 30)
    pid = conn.info.backend_pid
    conn.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
    time.sleep(0.2)
    os.kill(p.server_pid(), signal.SIGKILL)
    p.wait(lambda r: r.process == STOPPED, 5)
    end = time.monotonic() + 2
    while os.path.exists("/proc/%d" % pid):
        assert time.monotonic() < end, "a session goes on without its server"
        time.sleep(0.005)
    conn.close()
    p.promote(2)


def test_an_existing_database_is_adopted(user, node):
    n = node(1)
    n.do(STOP, mode=FAST)
    as_postgres(BIN + "initdb", "-D", n.data, "-U", "postgres", "-A", "trust", "--no-sync")
    n.do(CREATE)
    assert n.do(START).report.role == REPLICA
    assert n.promote(1).report.role == PRIMARY
    assert value(user, n, "SELECT count(*) FROM pg_roles WHERE rolname = 'replicator'") == 1


def test_a_standby_of_somebody_else_is_not_adopted(user, node):
    n = node(1)
    as_postgres(BIN + "initdb", "-D", n.data, "-U", "postgres", "-A", "trust", "--no-sync")
    as_postgres("touch", n.data + "/standby.signal")
    m = n.ask(CREATE)
    assert m.rc == REFUSED and b"standby of some other server" in m.text


@pytest.mark.parametrize("verb", [CREATE, REBUILD])
def test_a_directory_with_other_files_is_left_alone(user, node, verb):
    p, n = primary(node), node(2)
    as_postgres("touch", n.data + "/precious")
    m = n.ask(verb, epoch=1, **p.peer())
    assert m.rc == REFUSED and b"neither empty nor a database" in m.text
    assert os.listdir(n.data) == ["precious"]


def test_another_major_version_is_refused_naming_both(user, node):
    n = node(1)
    as_postgres(BIN + "initdb", "-D", n.data, "-U", "postgres", "--no-sync")
    as_postgres("sh", "-c", "echo 13 > '%s/PG_VERSION'" % n.data)
    m = n.ask(CREATE)
    assert m.rc == REFUSED and b"PostgreSQL 13" in m.text and b"15" in m.text


def test_tablespaces_are_refused_with_the_way_out(user, node):
    p = primary(node)
    place = p.dir + "/run/main/space"
    as_postgres("mkdir", place)
    with user.connect(p) as conn:
        conn.execute("CREATE TABLESPACE extra LOCATION '%s'" % place)
    m = node(2).ask(REBUILD, epoch=1, **p.peer())
    assert m.rc == REFUSED and b"extra" in m.text and b"pg_basebackup" in m.text


def test_an_interrupted_rewind_must_be_rebuilt(user, node):
    p, n = primary(node), node(2)
    n.epoch = 1
    n.do(REBUILD, **p.peer())
    as_postgres("touch", n.dir + "/state/dbd/main/rewinding")
    for verb, extra in ((START, {}), (FOLLOW, p.peer()), (REWIND, p.peer()), (PROMOTE, {"deadline_ns": now_ns() + 10**9})):
        m = n.ask(verb, **extra)
        assert m.rc == REFUSED and b"rebuild" in m.text, m.text
    n.do(REBUILD, **p.peer())
    n.follow(p)
    n.wait(lambda r: r.is_receiving)


def test_a_rebuild_that_was_killed_can_be_repeated(user, node):
    p, n = primary(node), node(2)
    n.epoch = 1
    with user.connect(p) as conn:
        conn.execute("CREATE TABLE big AS SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i")
    seq = n.send(REBUILD, **p.peer())
    end = time.monotonic() + 20
    while not os.path.exists(n.data + "/.mha-new/base"):
        assert time.monotonic() < end
        time.sleep(0.002)
    os.kill(n.worker_pid("verb"), signal.SIGKILL)
    assert n.reply(seq, 5).rc != OK
    n.do(REBUILD, **p.peer())
    n.follow(p)
    n.wait(lambda r: r.is_receiving)
    assert value(user, n, "SELECT count(*) FROM big") == 60000


def test_a_database_directory_of_strangers_does_not_start_by_a_stale_pid_file(user, node):
    p = primary(node)
    p.do(STOP, mode=IMMEDIATE)
    with open(p.data + "/postmaster.pid", "w") as f:  # a number that belongs to somebody else now
        f.write("%d\n%s\n0\n%d\n\n\n0 0\n" % (p.proc.pid, p.data, p.port))
    p.promote(2)
    user.write(p)


def test_a_replica_restarts_while_its_primary_is_away(user, node):
    p, n = primary(node), node(2)
    user.write(p)
    n.epoch = 1
    n.do(REBUILD, **p.peer())
    n.follow(p)
    n.wait(lambda r: r.is_receiving)
    n.do(STOP, mode=IMMEDIATE)
    p.do(STOP, mode=FAST)
    r = n.follow(p).report
    assert r.role == REPLICA and not r.is_receiving
    n.promote(2)
    user.write(n)


def test_an_unsafe_peer_address_is_refused(user, node):
    n = primary(node)
    n.do(STOP, mode=FAST)
    m = n.ask(FOLLOW, peer_node="n2", peer_host="x' options='-c fsync=off", peer_port=5432)
    assert m.rc != OK and b"not the address" in m.text
