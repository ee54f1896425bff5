"""The arithmetic and the table of contrib/bench store."""

import types

import pytest
import storebench


def rounds(*pairs):
    """Rounds of a base and a contestant, given as (base ops/s, tls ops/s); p50 is what one client would see."""
    return [{"plain": {"ops_per_s": float(a), "p50_us": 1e6 / a, "p99_us": 2e6 / a},
             "tls": {"ops_per_s": float(b), "p50_us": 1e6 / b, "p99_us": 2e6 / b}} for a, b in pairs]


def test_a_ratio_is_taken_within_each_round():
    """The machine was twice as fast in the second round; medians of each alone would say 0.75."""
    assert storebench.median_ratio(rounds((1000, 900), (2000, 1800), (1000, 900)), "tls", "plain", "ops_per_s") == pytest.approx(0.9)


def test_a_round_that_lacks_one_of_the_two_does_not_count():
    played = rounds((1000, 900), (1000, 900))
    del played[0]["plain"]
    assert storebench.median_ratio(played, "tls", "plain", "ops_per_s") == pytest.approx(0.9)
    del played[1]["tls"]
    assert storebench.median_ratio(played, "tls", "plain", "ops_per_s") is None


@pytest.mark.parametrize("ratio, p50_us, words", [
    (0.86, 290, "kept: at most 15% slower; kept: at most +0.3 ms p50"), (0.84, 290, "MISSED: at most 15% slower; kept: at most +0.3 ms p50"),
    (0.86, 310, "kept: at most 15% slower; MISSED: at most +0.3 ms p50")])
def test_the_targets_of_tls_stand_beside_its_row(ratio, p50_us, words):
    assert storebench.verdict("insert", "tls", 1, ratio, p50_us) == words
    assert storebench.verdict("insert", "tls", 16, ratio, p50_us) == words.split(";")[0]
    assert storebench.verdict("insert", "plain", 1, ratio, p50_us) == ""
    assert storebench.verdict("select", "tls", 1, ratio, p50_us) == ""


def test_a_row_without_its_baseline_has_no_comparison(capsys):
    args = types.SimpleNamespace(contestants=["tls"], profile="default", rounds=1, seconds=1)
    storebench.print_tables({"insert": {1: rounds((1000, 900))}}, args)
    row = next(line for line in capsys.readouterr().out.splitlines() if "TLS" in line)
    assert row.split() == ["1", "front", "end,", "TLS", "between", "nodes", "900", "1.11", "2.22"]
