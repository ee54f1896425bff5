"""The promises of failover, each under a fault while an application writes through the VIP. The bench prints the same trials as figures."""

import signal
import time

import pytest

from arpwatch import Owners
from faults import BY_NAME, FAULTS, trial
from lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", name="lab")
def three_nodes():
    with Lab(nodes=3, profile="fast") as lab:
        yield lab


@pytest.fixture(scope="module", name="small_lab")
def two_nodes_and_an_arbiter():
    with Lab(nodes=2, arbiter=True, profile="default") as lab:
        yield lab


def assert_promises(result, fault):
    assert result.violations == []
    for target, seconds in result.outage_s.items():
        assert seconds < fault.limit_s, "no write to %s was acknowledged for %.2f s when %s" % (target, seconds, fault.what)


@pytest.mark.parametrize("name", [f.name for f in FAULTS])
def test_no_acknowledged_row_is_lost_and_nothing_has_two_owners(lab, name):
    assert_promises(trial(lab, BY_NAME[name]), BY_NAME[name])


@pytest.mark.parametrize("name", ["postmaster-kill", "host-crash", "host-cut", "switchover", "control-freeze"])
def test_two_nodes_and_an_arbiter_keep_the_same_promises(small_lab, name):
    assert_promises(trial(small_lab, BY_NAME[name]), BY_NAME[name])


def test_the_loss_of_the_arbiter_disturbs_nobody(small_lab):
    small_lab.wait_redundant()
    primary = small_lab.primary()
    with small_lab.probe("arbiter") as probe:
        probe.wait_writing()
        struck_at = time.monotonic()
        small_lab.crash("arb")
        try:
            probe.wait_writing(rows=300)
            report = probe.report()
            assert report.errors("postgresql") == []
            assert report.errors("store") == []
            assert report.outage("postgresql", since=struck_at)[0] < 1.0
            assert small_lab.primary() == primary
        finally:
            small_lab.start("arb")
            small_lab.wait_redundant()


def test_the_arp_watch_sees_a_second_owner(lab):
    """The judge of 'never two owners' must be able to find one."""
    other = next(h for h in lab.data_hosts if h != lab.wait_primary())
    with lab.probe("second-owner") as probe:
        probe.wait_writing()
        lab.signal(lab.pids(other, "mha-vipd"), signal.SIGSTOP)  # it would take the address away again
        lab.run("exec", other, "nft", "flush", "ruleset")
        lab.run("exec", other, "ip", "address", "add", lab.vip + "/32", "dev", "eth0")
        time.sleep(0.3)  # fifteen questions
        lab.crash(other)
        lab.start(other)
        assert Owners(probe.report().records).doubles()
    lab.wait_redundant()
