#!/usr/bin/python3
"""An application that never stops writing: one row every 10 ms to PostgreSQL and to the store, and a record of every acknowledgement.

Run as a program on a host of the lab (contrib/lab client tests/lib/prober.py ...); it writes JSON lines to --out until its standard input
closes. All times are CLOCK_MONOTONIC seconds, which every process of one machine shares. Class Report reads such a file.

How it keeps the client's own timers out of the figure: nothing blocks (asynchronous libpq). A statement that has not been answered for
STALL_S is not given up, but new connections are tried beside it, one each ATTEMPT_EVERY_S, each with a deadline of its own; the first that
gets a row acknowledged takes over. The old connection lingers, so that an acknowledgement that comes late is still seen - from whichever
server. A reset connection is replaced at once.
"""

import argparse
import json
import os
import select
import sys
import time

import psycopg2
import psycopg2.extensions as ext

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from arpwatch import ArpWatch, INTERVAL_S as ARP_INTERVAL_S  # noqa: E402

STALL_S = 0.100
ATTEMPT_EVERY_S = 0.025
CONNECT_DEADLINE_S = 0.150
ANSWER_DEADLINE_S = 4.0
PATIENT_AFTER, PATIENT_EVERY_S = 5, 0.150  # so many rows wait for an answer already: servers are there, more connections help little
MAX_CONNECTING = 6

TABLE = {
    "postgresql": "CREATE TABLE IF NOT EXISTS mha_probe (run text NOT NULL, id bigint NOT NULL, PRIMARY KEY (run, id))",
    "store": "CREATE TABLE IF NOT EXISTS mha_probe (run TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (run, id)) STRICT",
}
# The server says in the acknowledged statement itself who it is: its name, and its timeline, which every promotion changes.
# The store has one queue wherever one connects, so there is nothing to ask.
INSERT = {
    "postgresql": "INSERT INTO mha_probe VALUES ('{run}', {id})"
    " RETURNING current_setting('cluster_name'), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    "store": "INSERT INTO mha_probe VALUES ('{run}', {id})",
}


class Link:
    """One connection and at most one statement on it."""

    def __init__(self, dsn, now):
        self.row = None
        self.sent = None
        self.is_ready = False
        self.deadline = now + CONNECT_DEADLINE_S
        self.conn = psycopg2.connect(dsn, async_=1)
        self.cursor = None

    def fileno(self):
        return self.conn.fileno()

    def advance(self):
        """POLLIN, POLLOUT, or 0 when what it was doing is done. Raises psycopg2.Error."""
        state = self.conn.poll()
        return {ext.POLL_READ: select.POLLIN, ext.POLL_WRITE: select.POLLOUT}.get(state, 0)

    def send(self, row, statement, now):
        self.row, self.sent, self.deadline = row, now, now + ANSWER_DEADLINE_S
        self.cursor = self.conn.cursor()
        self.cursor.execute(statement)

    def answer(self):
        """(node, timeline); cluster_name is GROUP/NODE."""
        if not self.cursor.description:
            return "", ""
        name, timeline = self.cursor.fetchone()
        return name.rpartition("/")[2], timeline

    def close(self):
        try:
            self.conn.close()
        except psycopg2.Error:
            pass


class Writer:
    """Writes rows to one server through one address; a client of Loop."""

    def __init__(self, loop, kind, name, dsn, run, interval, emit):
        self.loop, self.kind, self.name, self.dsn, self.run, self.interval, self.emit = loop, kind, name, dsn, run, interval, emit
        self.links = []
        self.current = None  # the link that got the latest acknowledgement
        self.next_row = 1
        self.next_tick = 0.0
        self.next_attempt = 0.0
        self.last_error = None

    def tick(self, now):
        """Send, give up, or try anew, as the clock says; returns when to call again."""
        for link in [x for x in self.links if now >= x.deadline]:
            self.drop(link, "no answer for %.0f ms" % (1000 * (ANSWER_DEADLINE_S if link.row else CONNECT_DEADLINE_S)))
        link = self.current
        if link and link.row is None:
            if now >= self.next_tick:
                self.next_tick = max(self.next_tick + self.interval, now)
                self.write(link, now)
            return self.next_tick
        stall_ends = link.sent + STALL_S if link else 0
        if now >= max(stall_ends, self.next_attempt):
            self.attempt(now)
        return max(stall_ends, self.next_attempt)

    def is_stalled(self, now):
        return self.current.row is not None and now >= self.current.sent + STALL_S

    def attempt(self, now):
        connecting = sum(1 for x in self.links if not x.is_ready)
        is_patient = len(self.links) - connecting >= PATIENT_AFTER
        self.next_attempt = now + (PATIENT_EVERY_S if is_patient else ATTEMPT_EVERY_S)
        if connecting >= MAX_CONNECTING:
            return
        try:
            link = Link(self.dsn, now)
        except psycopg2.Error as e:
            self.note(e)
            return
        self.links.append(link)
        self.step(link)

    def write(self, link, now):
        row, self.next_row = self.next_row, self.next_row + 1
        try:
            link.send(row, INSERT[self.kind].format(run=self.run, id=row), now)
            self.step(link)
        except psycopg2.Error as e:
            self.fail(link, e)

    def step(self, link):
        try:
            events = link.advance()
            if events:
                self.loop.watch(link, events, lambda: self.step(link))
                return
            self.loop.forget(link)
            now = time.monotonic()
            if link.row is None:  # connected
                link.is_ready = True
                self.write(link, now)
            else:
                self.acknowledged(link, now)
        except psycopg2.Error as e:
            self.fail(link, e)

    def acknowledged(self, link, now):
        node, timeline = link.answer()
        self.emit({"what": "ack", "to": self.name, "id": link.row, "sent": link.sent, "at": now, "node": node, "timeline": timeline})
        link.row, link.deadline = None, float("inf")
        if self.current is link:
            return
        if self.current and not self.is_stalled(now):
            self.drop(link, None)  # one that works is enough
            return
        self.current = link
        for other in [x for x in self.links if not x.is_ready]:
            self.drop(other, None)

    def fail(self, link, error):
        self.note(error)
        self.drop(link, str(error).strip())

    def note(self, error):
        text = " ".join(str(error).split())
        if text != self.last_error:
            self.emit({"what": "error", "to": self.name, "at": time.monotonic(), "sqlstate": getattr(error, "pgcode", None), "text": text})
        self.last_error = text

    def drop(self, link, why):
        self.loop.forget(link)
        if link in self.links:
            self.links.remove(link)
        if link.row is not None:
            self.emit({"what": "unknown", "to": self.name, "id": link.row, "sent": link.sent, "at": time.monotonic(), "text": why})
        if self.current is link:
            self.current = None
            self.next_attempt = 0.0
        link.close()


class Loop:
    """select.poll with file descriptors that libpq may change under us: each object is watched under the number it had when asked."""

    def __init__(self):
        self.poll = select.poll()
        self.handlers = {}
        self.numbers = {}

    def watch(self, obj, events, handler):
        number = obj.fileno()
        if self.numbers.get(obj) not in (None, number):
            self.forget(obj)
        self.poll.register(number, events)
        self.numbers[obj] = number
        self.handlers[number] = handler

    def forget(self, obj):
        number = self.numbers.pop(obj, None)
        if number is None:
            return
        self.handlers.pop(number, None)
        try:
            self.poll.unregister(number)
        except KeyError:
            pass

    def run_once(self, timeout_s):
        for number, _ in self.poll.poll(max(0, timeout_s) * 1000):
            handler = self.handlers.get(number)
            if handler:
                handler()


class Report:
    """What happened, from a record file: acknowledgements, outages, which server acknowledged when."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.records = [json.loads(line) for line in f if line.endswith("\n")]

    def acks(self, to):
        return sorted((r for r in self.records if r["what"] == "ack" and r["to"] == to), key=lambda r: r["at"])

    def acked_ids(self, to):
        return {r["id"] for r in self.acks(to)}

    def errors(self, to):
        return [r for r in self.records if r["what"] == "error" and r["to"] == to]

    def outage(self, to, since=0.0, until=float("inf")):
        """(seconds, start) of the largest gap between consecutive acknowledgements that ends between `since` and `until`.
        (inf, start) when none came after `since`. Wait with acked_since() until writing goes on before asking."""
        times = [r["at"] for r in self.acks(to) if r["at"] <= until]
        gaps = [(b - a, a) for a, b in zip(times, times[1:]) if b >= since]
        return max(gaps) if gaps else (float("inf"), times[-1] if times else since)

    def acked_since(self, to, when):
        """How many rows were sent and acknowledged after `when`."""
        return sum(1 for r in self.acks(to) if r["sent"] > when)

    def reigns(self, *names):
        """[(node, timeline, first acknowledgement, last one)] in the order of the first. Each promotion starts a new timeline."""
        spans = {}
        for r in sorted((r for n in names for r in self.acks(n)), key=lambda r: r["at"]):
            first, _ = spans.get((r["node"], r["timeline"]), (r["at"], 0))
            spans[(r["node"], r["timeline"])] = (first, r["at"])
        return sorted(((*who, *span) for who, span in spans.items()), key=lambda x: x[2])

    def overlaps(self, *names):
        """Primaries that still acknowledged when the next one had begun to: [(old node, new node, seconds)]. Empty is the promise."""
        reigns = self.reigns(*names)
        return [(x[0], y[0], x[3] - y[2]) for i, x in enumerate(reigns) for y in reigns[i + 1:] if x[3] >= y[2]]


def parse_target(text):
    """KIND,NAME,HOST,PORT,USER,DATABASE"""
    kind, name, host, port, user, database = text.split(",")
    if kind not in TABLE:
        raise argparse.ArgumentTypeError("the kind of a target is postgresql or store")
    dsn = "host=%s port=%s user=%s dbname=%s connect_timeout=2 tcp_user_timeout=5000 sslmode=disable gssencmode=disable application_name=prober"
    return kind, name, dsn % (host, port, user, database)


def prepare_table(kind, dsn, deadline_s=30):
    """The table must exist before writing begins; a server that is not ready yet is asked again."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            conn = psycopg2.connect(dsn)
            conn.autocommit = True
            conn.cursor().execute(TABLE[kind])
            conn.close()
            return
        except psycopg2.Error:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=parse_target, action="append", default=[], metavar="KIND,NAME,HOST,PORT,USER,DATABASE")
    parser.add_argument("--arp", metavar="ADDRESS", help="also watch who answers for this address")
    parser.add_argument("--run", required=True, help="goes into every row, so that runs do not mix")
    parser.add_argument("--interval-ms", type=float, default=10)
    parser.add_argument("--no-create", action="store_true", help="the table is there already")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if not args.no_create:
        for kind, _, dsn in args.target:
            prepare_table(kind, dsn)

    loop = Loop()
    with open(args.out, "w", buffering=1, encoding="utf-8") as out:
        def emit(record):
            out.write(json.dumps(record) + "\n")

        writers = [Writer(loop, kind, name, dsn, args.run, args.interval_ms / 1000, emit) for kind, name, dsn in args.target]
        watch = ArpWatch(args.arp, emit=emit) if args.arp else None
        if watch:
            loop.watch(watch, select.POLLIN, watch.receive)
        stopping = []
        loop.watch(sys.stdin, select.POLLIN, lambda: stopping.append(not os.read(0, 4096)))
        next_ask = 0.0
        while not any(stopping):
            now = time.monotonic()
            wake = min([w.tick(now) for w in writers] + [now + 0.050])
            if watch:
                if now >= next_ask:
                    watch.ask()
                    next_ask = max(next_ask + ARP_INTERVAL_S, now)
                wake = min(wake, next_ask)
            loop.run_once(wake - time.monotonic())


if __name__ == "__main__":
    main()
