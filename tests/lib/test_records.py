"""The judges are judged first: each must see the violation that it is there for."""

import json

from arpwatch import Owners
from prober import Report


def report_of(tmp_path, records):
    path = tmp_path / "records"
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + '{"what": "ack", "half a li')
    return Report(path)


def ack(at, node="n1", timeline="00000001", sent=None, to="pg", number=None):
    return {"what": "ack", "to": to, "id": number or int(at * 1000), "sent": at - 0.001 if sent is None else sent, "at": at, "node": node,
            "timeline": timeline}


def arp(at, question, mac):
    return {"what": "arp", "at": at, "question": question, "mac": mac}


def test_the_outage_is_the_largest_gap_between_acknowledgements(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(1.5), ack(3.25), ack(3.5)])
    assert r.outage("pg") == (1.75, 1.5)
    assert r.outage("pg", since=3.3)[0] == 0.25


def test_an_outage_that_has_not_ended_is_infinite(tmp_path):
    assert report_of(tmp_path, [ack(1.0), ack(1.5)]).outage("pg", since=2.0) == (float("inf"), 1.5)
    assert report_of(tmp_path, []).outage("pg", since=2.0) == (float("inf"), 2.0)


def test_targets_are_kept_apart(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(1.1, to="store"), ack(2.0), ack(1.2, to="store")])
    assert r.outage("pg")[0] == 1.0
    assert len(r.acks("store")) == 2


def test_rows_sent_before_a_moment_do_not_count_as_written_after_it(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(5.0, sent=1.0), ack(6.0)])
    assert r.acked_since("pg", 2.0) == 1


def test_a_clean_takeover_does_not_overlap(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(2.0), ack(3.0, "n2", "00000002"), ack(4.0, "n2", "00000002")])
    assert r.overlaps("pg") == []
    assert r.reigns("pg") == [("n1", "00000001", 1.0, 2.0), ("n2", "00000002", 3.0, 4.0)]


def test_an_old_primary_that_acknowledges_after_the_new_one_is_seen(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(3.0, "n2", "00000002"), ack(3.5), ack(4.0, "n2", "00000002")])
    assert r.overlaps("pg") == [("n1", "n2", 0.5)]


def test_two_primaries_of_one_timeline_are_seen(tmp_path):
    r = report_of(tmp_path, [ack(1.0, "n1", "00000002"), ack(1.1, "n2", "00000002"), ack(1.2, "n1", "00000002")])
    assert [o[:2] for o in r.overlaps("pg")] == [("n1", "n2")]


def test_a_switch_back_is_no_overlap(tmp_path):
    r = report_of(tmp_path, [ack(1.0), ack(2.0, "n2", "00000002"), ack(3.0, "n1", "00000003")])
    assert r.overlaps("pg") == []


def test_two_machines_that_answer_one_question_are_seen():
    assert Owners([arp(1.0, 1, "aa"), arp(1.0001, 1, "bb"), arp(1.02, 2, "bb")]).doubles() == [(1.0001, frozenset({"aa", "bb"}))]


def test_one_machine_after_the_other_is_no_double():
    o = Owners([arp(1.0, 1, "aa"), arp(1.02, 2, "aa"), arp(1.5, 9, "bb"), arp(1.5, 9, "bb")])
    assert o.doubles() == []
    assert o.changes() == [(1.0, "aa"), (1.5, "bb")]


def test_a_question_number_that_comes_round_again_is_another_question():
    assert Owners([arp(1.0, 1, "aa"), arp(1400.0, 1, "bb")]).doubles() == []
