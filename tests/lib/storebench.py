"""`contrib/bench store`: every contestant does the same work, in rounds that take turns, so that what disturbs the machine disturbs
all of them alike. The numbers are medians over the rounds; ratios are taken within a round, then their median."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import types

from contestants import CONTESTANTS, Unavailable

WORKS = (("insert", "INSERT of one 128 B row, autocommit"), ("transaction", "BEGIN, 4 such INSERTs, COMMIT"), ("select", "SELECT of one row by key"))
SOCKET_MAX = 107
DIR_MAX = SOCKET_MAX - len("/mha-bench-xxxxxxxx/longname/n1/run/.s.PGSQL.65535")
TRIES = 3  # of one run that an election or an error disturbed
TLS_MAX_LOSS, TLS_MAX_P50_US = 0.15, 300


class Skipped(Exception):
    """A run that was disturbed every time."""


def load(contestant, work, clients, seconds):
    """The result of one run during which the leader stayed the same and nothing failed."""
    why = ""
    for _ in range(TRIES):
        contestant.check()
        before = contestant.leader()
        command = contestant.load_command() + ["--clients", str(clients), "--seconds", str(seconds)]
        for step in ("setup", work):
            done = subprocess.run(command + ["--work", step], capture_output=True, text=True, check=False, timeout=seconds + 120)
            if done.returncode != 0:
                break
        result = json.loads(done.stdout) if done.stdout else {"errors": -1}
        if result["errors"] == 0 and contestant.leader() == before:
            return result
        why = (done.stderr.strip() or "the leader changed").splitlines()[0]
        print("  %s, %s, %d clients: once more, because %s" % (contestant.name, work, clients, why), file=sys.stderr, flush=True)
    raise Skipped(why)


def play_round(contestants, work, clients, seconds, number):
    """{name: result} of one round. Who goes first changes from round to round."""
    shift = number % len(contestants)
    results = {}
    for c in contestants[shift:] + contestants[:shift]:
        try:
            results[c.name] = load(c, work, clients, seconds)
        except Skipped as skipped:
            print("  %s left out of this round: %s" % (c.name, skipped), file=sys.stderr, flush=True)
    print("  %s, %d clients, round %d: %s" % (work, clients, number + 1, ", ".join(
        "%s %.0f/s" % (n, r["ops_per_s"]) for n, r in sorted(results.items()))), file=sys.stderr, flush=True)
    return results


def median_of(rounds, name, key):
    values = [r[name][key] for r in rounds if name in r]
    return statistics.median(values) if values else None


def median_ratio(rounds, name, base, key):
    values = [r[name][key] / r[base][key] for r in rounds if name in r and base in r and r[base][key]]
    return statistics.median(values) if values else None


def median_difference(rounds, name, base, key):
    values = [r[name][key] - r[base][key] for r in rounds if name in r and base in r]
    return statistics.median(values) if values else None


# --- the table ---

HEAD = ("clients", "contestant", "ops/s", "p50 ms", "p99 ms", "compared to", "ops/s x", "p50 +ms", "")


def shown(value, form):
    return "-" if value is None else form % value


def verdict(work, name, clients, ratio, p50_us):
    """What TLS may cost a write, and whether it does; a read goes to no other node."""
    if name != "tls" or work == "select" or ratio is None:
        return ""
    words = ["%s: at most 15%% slower" % ("kept" if ratio >= 1 - TLS_MAX_LOSS else "MISSED")]
    if clients == 1:
        words.append("%s: at most +0.3 ms p50" % ("kept" if p50_us <= TLS_MAX_P50_US else "MISSED"))
    return "; ".join(words)


def row_of(work, contestant, clients, rounds, names):
    name, base = contestant.name, contestant.baseline if contestant.baseline in names else None
    ratio = median_ratio(rounds, name, base, "ops_per_s") if base else None
    p50 = median_difference(rounds, name, base, "p50_us") if base else None
    return (str(clients), contestant.title, shown(median_of(rounds, name, "ops_per_s"), "%.0f"),
            *(shown(None if v is None else v / 1000, "%.2f") for v in (median_of(rounds, name, k) for k in ("p50_us", "p99_us"))),
            base or "", shown(ratio, "%.2f") if base else "", shown(None if p50 is None else p50 / 1000, "%+.2f") if base else "",
            verdict(work, name, clients, ratio, p50))


def print_rows(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    left = {1, 5, 8}
    for i, row in enumerate(rows):
        print("  ".join(cell.ljust(w) if n in left else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths))).rstrip())
        if i == 0:
            print("  ".join("-" * w for w in widths).rstrip())


def print_tables(results, args):
    print("three nodes on loopback, profile %s, %d rounds of %d s each, medians; one machine with %d cores" %
          (args.profile, args.rounds, args.seconds, os.cpu_count()))
    chosen = [c for c in CONTESTANTS if c.name in args.contestants]
    for work, title in WORKS:
        if work not in results:
            continue
        print("\n" + title)
        print_rows([HEAD] + [row_of(work, c, clients, rounds, args.contestants) for clients, rounds in results[work].items() for c in chosen])
    print("\nops/s x and p50 +ms: against the contestant named beside it, within each round; then the median")


# --- the run ---

def filesystem_of(path):
    """Its type; the mount with the longest matching path is the one."""
    best = ("", "")
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, mount, kind = line.split()[:3]
            if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
                best = (mount, kind)
    return best[1]


def make_base(directory):
    if len(os.path.abspath(directory)) > DIR_MAX:
        sys.exit("bench: %s is too long a name: sockets lie below it, and theirs have %d bytes at the most" % (directory, SOCKET_MAX))
    base = tempfile.mkdtemp(prefix="mha-bench-", dir=directory)
    if filesystem_of(os.path.realpath(base)) in ("tmpfs", "ramfs"):
        os.rmdir(base)
        sys.exit("bench: %s is in memory, so its fsync costs nothing: name a folder on a disk with --dir" % directory)
    return base


def run(args):
    """{work: {clients: [{name: result}]}}"""
    place = types.SimpleNamespace(base=make_base(args.dir), bin=args.bin, tests=os.path.join(os.path.dirname(args.bin.rstrip("/")), "tests"),
                                  profile=args.profile)
    contestants, results = [], {}
    try:
        for number, kind in enumerate(c for c in CONTESTANTS if c.name in args.contestants):
            contestants.append(kind(number, place))
            try:
                contestants[-1].start()
            except Unavailable as why:
                print("bench: without \"%s\": %s" % (kind.name, why), file=sys.stderr, flush=True)
                args.contestants.remove(kind.name)
                contestants.pop().stop()
        for work in args.works:
            results[work] = {}
            for clients in args.clients:
                results[work][clients] = [play_round(contestants, work, clients, args.seconds, n) for n in range(args.rounds)]
        return results
    finally:
        for c in contestants:
            c.stop()
        os.rmdir(place.base)
