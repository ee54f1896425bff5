"""Backup, verify and restore of the store, on mha-stored alone: what comes back is what was there.

Run: /usr/bin/python3 -m pytest tests/integration/test_backup.py   (programs from $MHA_BIN, default build/dev/bin)
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import psycopg2
import pytest

from test_store_sql import BIN, STORED, Node, free_ports, init, wait_for

pytestmark = pytest.mark.skipif(not STORED.exists(), reason=f"{STORED} is not built (MHA_BIN)")

SCHEMA = r'''
CREATE TABLE plain (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, any_value);
CREATE TABLE rowids (t TEXT);
CREATE TABLE keyed (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT);
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, t TEXT NOT NULL, x ANY) STRICT;
CREATE TABLE made (w INTEGER, h INTEGER, area INTEGER GENERATED ALWAYS AS (w * h) STORED, half AS (w / 2));
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));
CREATE TABLE dated (d DATETIME, y BOOLEAN);
CREATE TABLE "odd ""name""" ("a b" TEXT, rowid TEXT);
CREATE TABLE log (what TEXT);
CREATE INDEX plain_t ON plain (t COLLATE NOCASE DESC) WHERE t IS NOT NULL;
CREATE UNIQUE INDEX counted_t ON counted (t);
CREATE VIEW big AS SELECT id, t FROM plain WHERE i > 10;
CREATE TRIGGER plain_logged AFTER INSERT ON plain BEGIN INSERT INTO log VALUES ('plain ' || new.id); END;
INSERT INTO plain VALUES (1, 9223372036854775807, 1.5, 'ünïcödé 漢字 🐘', x'00ff10', 'text');
INSERT INTO plain VALUES (-5, -9223372036854775808, 9e999, '', x'', 1.0);
INSERT INTO plain VALUES (3, NULL, -9e999, NULL, NULL, NULL), (4, 0, 0.1, '12', x'31', 12), (5, 0, 1e308, '1.0', NULL, x'6162');
INSERT INTO plain VALUES (6, 1, 2, CAST(x'610062' AS TEXT), NULL, CAST(x'00' AS TEXT));
INSERT INTO plain VALUES (7, 1, 2, CAST(x'ff41fe' AS TEXT), NULL, 'it''s');
INSERT INTO rowids (rowid, t) VALUES (100, 'hundred'), (-3, 'minus three'), (7, 'seven');
INSERT INTO keyed VALUES ('b', 2, 'x'), ('a', 10, 'y'), ('a', 9, NULL);
INSERT INTO counted (t) VALUES ('one'), ('two'), ('three');
DELETE FROM counted WHERE t = 'three';
INSERT INTO strict_one VALUES (1, 'a', 5), (2, 'b', 5.0), (3, 'c', 'five');
INSERT INTO made (w, h) VALUES (3, 4), (10, 20);
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1), (2, 2), (3, NULL);
INSERT INTO dated VALUES ('2026-11-23 10:00:00', 1), (1763892000, 0);
INSERT INTO "odd ""name""" VALUES ('x', 'not a rowid');
'''

ODD = '"odd ""name"""'


@pytest.fixture
def base():
    path = pathlib.Path(tempfile.mkdtemp(prefix="mha-backup-"))
    nodes = []
    yield path, nodes
    for node in nodes:
        if node.is_alive():
            node.process.kill()
            node.process.wait()
    shutil.rmtree(path, ignore_errors=True)


def make_node(base, name="n1", more=""):
    path, nodes = base
    node = Node(path, name, "127.0.0.1", free_ports("127.0.0.1", 3))
    node.configure([node])
    with open(node.dir / "node.yaml", "a") as f:
        f.write(more)
    node.start()
    nodes.append(node)
    return node


def ready(base, more=""):
    node = make_node(base, more=more)
    init(node)
    node.grant()
    return node


def fill(node, rows=0):
    c = node.local()
    c.autocommit = True
    cur = c.cursor()
    for line in SCHEMA.strip().replace("BEGIN INSERT INTO log VALUES ('plain ' || new.id); END;", "BEGIN INSERT INTO log VALUES ('plain ' || new.id)@ END;").split(";\n"):
        cur.execute(line.replace("@", ";").rstrip(";") + ";")
    if rows:
        cur.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, t TEXT)")
        cur.execute(
            "INSERT INTO many WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
            " SELECT i, hex(randomblob(50)) FROM n" % rows
        )
    c.close()


def show(node, what):
    c = node.control()
    cur = c.cursor()
    cur.execute("SHOW mha." + what)
    row = dict(zip([d[0] for d in cur.description], cur.fetchone()))
    c.close()
    return row


def backup(node, to=""):
    node.do("CALL mha_backup(%s)", to)
    wait_for(lambda: show(node, "backup")["state"] != "running", "the backup to end", 60)
    return show(node, "backup")


def verify(path, *more):
    return subprocess.run([STORED, "--verify", path, *more], capture_output=True, text=True, timeout=60)


def content(node):
    """Everything, as exactly as SQL can say it."""
    c = node.local()
    cur = c.cursor()
    result = {}
    cur.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    result["schema"] = cur.fetchall()
    tables = {
        "plain": "id, i, r, t, b, any_value", "rowids": "rowid, t", "keyed": "a, b, v", "counted": "id, t",
        "strict_one": "id, t, x", "made": "rowid, w, h, area, half", "parent": "id", "child": "id, parent",
        "dated": "rowid, d, y", ODD: '_rowid_, "a b", rowid', "log": "rowid, what", "sqlite_sequence": "name, seq",
    }
    for table, columns in tables.items():
        exprs = ", ".join("typeof(%s), quote(CAST(%s AS BLOB)), quote(%s)" % (x, x, x if "t" != x else "hex(t)") for x in columns.split(", "))
        cur.execute("SELECT %s FROM %s ORDER BY 2, 3" % (exprs, table))
        result[table] = cur.fetchall()
    c.close()
    return result


def restore(base, path, name="r1"):
    node = make_node(base, name)
    node.do("CALL mha_init(%s, %s, %s, %s)", "lab", str(uuid.uuid4()), "fast", str(path))
    wait_for(lambda: node.info()["is_leader"] == "t", "the restored node to lead")
    node.grant(generation=2000000)
    return node


def test_what_comes_back_is_what_was_there(base):
    node = ready(base)
    fill(node, rows=20000)
    before = content(node)
    done = backup(node)
    assert done["state"] == "ok", done["reason"]
    path = pathlib.Path(done["path"])
    assert path.parent == node.dir / "state/backup" and path.stat().st_mode & 0o777 == 0o600
    r = verify(path)
    assert r.returncode == 0 and "database config: 12 tables" in r.stdout, r.stdout + r.stderr
    report = json.loads(verify(path, "--json").stdout)
    assert report["cluster"] == "lab" and report["databases"][0]["orphans"] == 0
    node.stop()
    again = restore(base, path)
    assert content(again) == before
    many = again.do("SELECT count(*), min(length(t)) FROM many")
    assert many == [(20000, 100)]
    # it is a store like any other
    again.do("INSERT INTO counted (t) VALUES ('four')")
    assert again.do("SELECT id FROM counted WHERE t = 'four'") == [(4,)]


def mha(node, sql):
    c = psycopg2.connect(host=str(node.run), port=node.port, dbname="mha", user="mha", application_name="mha-control")
    c.autocommit = True
    cur = c.cursor()
    cur.execute(sql)
    rows = cur.fetchall() if cur.description else None
    c.close()
    return rows


def test_members_and_certificates_of_the_old_cluster_do_not_come_back(base):
    node = ready(base)
    for sql in (
        "UPDATE controller SET generation = 41, node = 'n1'",
        "INSERT INTO cluster VALUES (1, 'lab', 'old-uuid', 'fast', 1)",
        "INSERT INTO node VALUES ('n1', '5', '127.0.0.1', '127.0.0.1:1', 'voter', 0, 1)",
        "INSERT INTO voter_set VALUES (7, 'n1,n2', 1)",
        "INSERT INTO db_group (name, engine, state, epoch, step, primary_node, durability, on_failure)"
        " VALUES ('main', 'fake', 'steady', 9, 0, 'n1', 'sync', 'failover')",
        "INSERT INTO db_instance VALUES ('main', 'n1')",
        "INSERT INTO secret_ca VALUES (1, 'cert', 'key', 1)",
        "INSERT INTO certificate VALUES ('aa', 'node', 'n1', 1, 2, 0)",
        "INSERT INTO roster (name, address, peer_port, raft_port, sql_port, role) VALUES ('n1', '127.0.0.1', 1, 2, 3, 'data')",
        "INSERT INTO policy VALUES ('kept', 'yes')",
        "INSERT INTO event (at, generation, severity, text) VALUES (1, 1, 'info', 'kept')",
    ):
        mha(node, sql)
    path = backup(node)["path"]
    node.stop()
    again = restore(base, path)
    for table in ("cluster", "node", "voter_set", "db_group", "db_instance", "secret_ca", "secret_join", "certificate", "roster"):
        assert mha(again, "SELECT count(*) FROM " + table) == [(0,)], table
    assert mha(again, "SELECT generation FROM controller") == [(1000041,)]
    assert sorted(mha(again, "SELECT name, number FROM number_floor")) == [("epoch:main", 1000009), ("voter_set", 1000007)]
    assert mha(again, "SELECT value FROM policy WHERE name = 'kept'") == [("yes",)]
    assert [t for (t,) in mha(again, "SELECT text FROM event ORDER BY id")][0] == "kept"


def test_damaged_and_foreign_files_are_told_apart(base):
    node = ready(base)
    fill(node)
    path = pathlib.Path(backup(node)["path"])
    whole = path.read_bytes()
    bad = path.parent / "bad"

    def says(data, text):
        bad.write_bytes(data)
        r = verify(bad)
        assert r.returncode == 1 and text in r.stderr and r.stdout == "", r.stderr
        return r

    says(b"", "no backup of a store")
    says(b"PK\3\4" + whole[4:], "no backup of a store")
    says(whole[:100], "cut short")
    says(whole[:-1], "cut short")
    says(whole + b"x", "longer than it says")
    for at in (9, 200, 4095):
        says(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:], "head is damaged")
    for at in range(4097, len(whole), max(1, len(whole) // 40)):
        says(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1:], "is damaged")
    assert verify(path.parent / "missing").returncode == 1
    # a restore from a damaged one leaves a fresh node, which can still be initialised
    bad.write_bytes(whole[:5000] + bytes([whole[5000] ^ 0x40]) + whole[5001:])
    fresh = make_node(base, "f1")
    with pytest.raises(psycopg2.Error, match="damaged"):
        fresh.do("CALL mha_init('lab', %s, 'fast', %s)", str(uuid.uuid4()), str(bad))
    assert fresh.info()["cluster_uuid"] == ""
    fresh.stop()
    fresh.start()
    init(fresh)


def test_retention_names_and_the_operators_command(base):
    copy = base[0] / "copy"
    node = ready(base, "backup: {keep: 2, dir: %s, command: \"cat > %s/$1; test ! -e %s/fail\"}\n" % (base[0] / "b", copy, copy))
    copy.mkdir()
    for _ in range(3):
        done = backup(node)
        assert done["state"] == "ok", done["reason"]
        wait_for(lambda: subprocess.run(["sleep", "1.1"]).returncode == 0, "another second")
    assert len(list((base[0] / "b").iterdir())) == 2 and len(list(copy.iterdir())) == 3
    assert verify(copy / pathlib.Path(done["path"]).name).returncode == 0
    (copy / "fail").touch()
    done = backup(node, "mine.mhabackup")
    assert done["state"] == "failed" and "exit status 1" in done["reason"], done
    assert verify(base[0] / "b/mine.mhabackup").returncode == 0
    with pytest.raises(psycopg2.Error, match="exists already"):
        node.do("CALL mha_backup('mine.mhabackup')")
    with pytest.raises(psycopg2.Error, match="absolute path"):
        node.do("CALL mha_backup('../x')")


def test_a_node_without_the_lease_makes_no_backup(base):
    node = make_node(base)
    init(node)
    with pytest.raises(psycopg2.Error, match="lease"):
        node.do("CALL mha_backup('')")


def test_where_nothing_can_be_written_the_reason_is_told(base):
    node = ready(base, "backup: {dir: /proc/nowhere}\n")
    with pytest.raises(psycopg2.Error, match="cannot create /proc/nowhere"):
        node.do("CALL mha_backup('')")
