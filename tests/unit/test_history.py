"""The checker of histories finds what it is there for, each kind by itself, and nothing in a history that fits."""

from __future__ import annotations

import pytest

from malamute.history import History, Row, Seen


def history(sent: int, acknowledged: int) -> History:
    made = History()
    made.note_sent("p", sent)
    made.note_acknowledged("p", acknowledged)
    return made


def rows(*numbers: int) -> list[Row]:
    return [Row(0, offset, "p", n) for offset, n in enumerate(numbers)]


def test_a_history_that_fits_has_no_findings_and_what_is_unknown_may_be_there_or_not():
    for stored in (rows(0, 1, 2), rows(0, 1, 2, 3)):
        made = history(sent=4, acknowledged=3)
        made.note_read(made.before_read(), {"p": Seen(3, 3, 2)})
        found = made.check(stored, dense=True)
        assert not found.counts and str(found) == "" and made.reads == 1


@pytest.mark.parametrize(
    ("stored", "kinds"),
    [
        (rows(0, 1), {"lost": 1}),
        (rows(0, 1, 2, 2), {"doubled": 1, "reordered": 1}),
        (rows(0, 2, 1), {"reordered": 1}),
        (rows(0, 1, 2, 3, 4), {"never sent": 1}),
        ([*rows(0, 1), Row(0, 5, "p", 2)], {"gaps": 1}),
        ([*rows(0, 1, 2), Row(0, 2, "p", 3)], {"doubled": 1}),
        ([*rows(0, 1, 2), Row(0, 3, "stranger", 0)], {"never sent": 1}),
    ],
)
def test_each_kind_of_misfit_is_found_and_named(stored, kinds):
    found = history(sent=4, acknowledged=3).check(stored, dense=True)
    assert found.counts == kinds
    assert all(kind in str(found) for kind in kinds)


@pytest.mark.parametrize(
    ("seen", "kinds"),
    [
        ({}, {"unseen": 1}),
        ({"p": Seen(2, 2, 1)}, {"unseen": 1}),
        ({"p": Seen(4, 3, 2)}, {"doubled": 1}),
        ({"p": Seen(3, 3, 3)}, {"reordered": 1}),
    ],
)
def test_an_answer_without_an_acknowledged_event_is_a_finding(seen, kinds):
    made = history(sent=4, acknowledged=3)
    made.note_read(made.before_read(), seen)
    assert made.check(rows(0, 1, 2), dense=True).counts == kinds


def test_an_answer_need_not_hold_what_was_acknowledged_after_it_was_asked_for():
    made = history(sent=4, acknowledged=1)
    least = made.before_read()
    made.note_acknowledged("p", 3)
    made.note_read(least, {"p": Seen(1, 1, 0)})
    assert not made.check(rows(0, 1, 2), dense=True).counts
