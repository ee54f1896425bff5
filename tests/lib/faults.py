"""What can happen to a cluster, one row per fault, and a trial: writing goes on while it happens, then the promises are checked.

contrib/bench failover and tests/integration run the same trials.
"""

import signal
import time
from dataclasses import dataclass, field

from arpwatch import Owners
from lab import wait_for

OBSERVE_S = {"fast": 3.0, "default": 6.0, "relaxed": 14.0}  # several leases: what a fault causes has begun by then


@dataclass
class Fault:
    name: str
    what: str              # completes "when ..."
    strike: object         # (lab, primary, leader) -> what undo needs
    undo: object = None    # (lab, primary, struck)
    moves: object = None   # True: another primary must follow; False: the same must stay; None: either is right
    spares: tuple = ()     # targets of which no write may fail
    is_cut: bool = False   # an application on the cut-off host itself writes on
    limit_s: float = 3.0   # the longest outage that the project promises for it


def kill_postmaster(lab, primary, leader):
    lab.signal(lab.postmaster(primary))


def kill(program):
    """kill -9 every process of a program on the primary's host."""
    return lambda lab, primary, leader: lab.signal(lab.pids(primary, program))


def freeze(program):
    def strike(lab, primary, leader):
        pids = lab.pids(primary, program)
        lab.signal(pids, signal.SIGSTOP)
        return pids
    return strike


def thaw(lab, primary, struck):
    for pid in struck:
        try:
            lab.signal(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # its parent has replaced it meanwhile


def children(lab, host, program):
    """mhad's control process, mha-dbd's workers. (mha-dbd's guard and mhad's parent are of the same programs.)"""
    pids = lab.children_of_program(host, program)
    assert pids, "%s on %s has no child of the same program" % (program, host)
    return pids


def freeze_children(program):
    def strike(lab, primary, leader):
        pids = children(lab, primary, program)
        lab.signal(pids, signal.SIGSTOP)
        return pids
    return strike


def kill_mhad(lab, primary, leader):
    lab.signal(lab.pids(primary, "mhad"))


def reboot(lab, primary, struck):
    lab.crash(primary)
    lab.start(primary)


def switch_over(lab, primary, leader):
    target = next(h for h in lab.data_hosts if h != primary)
    lab.shell(primary, "-y", "group", "switchover", "main", "--to", target)  # returns when it is done


FAULTS = [
    Fault("postmaster-kill", "the primary's postmaster is killed with -9", kill_postmaster),
    Fault("host-crash", "every process of the primary's host is killed and its link cut", lambda lab, p, l: lab.crash(p),
          undo=lambda lab, p, s: lab.start(p), moves=True),
    Fault("host-cut", "the primary's host is cut off", lambda lab, p, l: lab.cut(p), undo=lambda lab, p, s: lab.heal(p), moves=True, is_cut=True),
    Fault("switchover", "an operator asks for a switchover", switch_over, moves=True),
    Fault("store-kill", "the Raft leader's store process is killed", lambda lab, p, l: lab.signal(lab.pids(l, "mha-stored")),
          moves=False, spares=("postgresql",)),
    Fault("controller-kill", "the controller's control process is killed", lambda lab, p, l: lab.signal(children(lab, l, "mhad")),
          moves=False, spares=("postgresql",)),
    Fault("control-kill", "the control process on the primary's host is killed", lambda lab, p, l: lab.signal(children(lab, p, "mhad"))),
    Fault("control-freeze", "the control process on the primary's host is frozen", freeze_children("mhad"), undo=thaw),
    Fault("mhad-kill", "mhad on the primary's host is killed, its parent process too, and nobody restarts it", kill_mhad, undo=reboot, moves=True),
    Fault("vipd-kill", "mha-vipd on the primary's host is killed", kill("mha-vipd")),
    Fault("vipd-freeze", "mha-vipd on the primary's host is frozen", freeze("mha-vipd"), undo=thaw),
    Fault("worker-freeze", "the worker of mha-dbd on the primary's host is frozen", freeze_children("mha-dbd"), undo=thaw),
]
BY_NAME = {f.name: f for f in FAULTS}


@dataclass
class Result:
    fault: str
    primary_before: str
    primary_after: str
    outage_s: dict                                 # target -> seconds
    acked: dict                                    # target -> rows
    missing: dict                                  # target -> ids that were acknowledged and are gone
    errors: dict                                   # target -> errors that the application saw
    overlaps: list = field(default_factory=list)   # primaries that acknowledged after the next had begun
    doubles: list = field(default_factory=list)    # ARP questions that two machines answered
    margin_s: float = None                         # last acknowledgement of the old primary .. first of the new one
    recovery_s: float = 0.0                        # until full redundancy is back after the fault is lifted

    @property
    def violations(self):
        """Promises that were broken, in words; empty is the only good result."""
        fault, out = BY_NAME[self.fault], []
        for target, ids in self.missing.items():
            if ids:
                out.append("%d acknowledged rows of %s are missing: %s" % (len(ids), target, sorted(ids)[:10]))
        for old, new, seconds in self.overlaps:
            out.append("%s still acknowledged %.3f s after %s had begun to" % (old, seconds, new))
        if self.doubles:
            out.append("%d ARP questions were answered by two machines, first %s" % (len(self.doubles), sorted(self.doubles[0][1])))
        for target in fault.spares:
            if self.errors.get(target):
                out.append("a write to %s failed: %s" % (target, self.errors[target][0]))
        if fault.moves is not None and fault.moves != (self.primary_before != self.primary_after):
            out.append("the primary was %s and is %s" % (self.primary_before, self.primary_after))
        return out


def trial(lab, fault, number=1):
    """One fault while applications write. Raises only when the cluster does not come back; promises broken stand in Result.violations."""
    status = wait_for_leader(lab)
    primary, leader = lab.group(status)["primary"], status["leader"]
    name = "%s-%d-%d" % (fault.name, number, time.time())
    targets = ("postgresql", "store")
    with lab.probe(name, targets=targets) as probe:
        probe.wait_writing()
        inside = lab.probe(name + "-in", host=primary, targets=("postgresql",), address=lab.env["LAB_ADDRESS_" + primary],
                           arp=False) if fault.is_cut else None
        try:
            if inside:
                inside.wait_writing()
            struck_at = time.monotonic()
            struck = fault.strike(lab, primary, leader)
            time.sleep(max(0, struck_at + OBSERVE_S[lab.profile] - time.monotonic()))  # the window that is measured
            probe.wait_writing()
            observed_until = time.monotonic()
            if fault.undo:
                fault.undo(lab, primary, struck)
            undone_at = time.monotonic()
            status = lab.wait_redundant()
            recovery = time.monotonic() - undone_at
        finally:
            if inside:
                inside.stop()
        probe.wait_writing()
    return summary(lab, fault, primary, probe, inside, (struck_at, observed_until), recovery)


def wait_for_leader(lab):
    def check():
        status = lab.wait_redundant()
        return status if status.get("leader") else None
    return wait_for("a leader", check)


def summary(lab, fault, before, probe, inside, window, recovery):
    report, after = probe.report(), lab.wait_primary()
    result = Result(fault.name, before, after, {}, {}, {}, {}, recovery_s=recovery)
    for target in probe.targets:
        result.outage_s[target] = report.outage(target, since=window[0], until=window[1])[0]
        result.acked[target] = len(report.acks(target))
        result.missing[target] = probe.missing(target, after if target == "postgresql" else lab.vip)
        result.errors[target] = [e["text"] for e in report.errors(target) if window[0] <= e["at"] <= window[1]]
    if inside:  # one history: what the cut-off server acknowledged to its neighbours counts like everything else
        inner = inside.report()
        report.records += [dict(r, id=-r["id"]) if "id" in r else r for r in inner.records]
        result.missing["postgresql, inside"] = inside.missing("postgresql", after)
    result.overlaps = report.overlaps("postgresql")
    result.doubles = Owners(report.records).doubles()
    reigns = report.reigns("postgresql")
    if len(reigns) > 1:
        result.margin_s = min(b[2] - a[3] for a, b in zip(reigns, reigns[1:]))
    return result
