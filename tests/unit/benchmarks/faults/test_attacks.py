"""What counts attacks sees all faults, and a few attacks of each kind."""

from __future__ import annotations

import random

import pytest

from benchmarks.faults import attacks, bad_inputs, bounds, damaged_files, tables, threads
from benchmarks.faults.damages import DAMAGES, damaged
from benchmarks.faults.tally import Tally, never
from beyondprop.errors import UserError


def raises(error: BaseException) -> None:
    raise error


def test_only_a_sentence_is_a_refusal() -> None:
    tally = Tally()
    tally.attempt("told", lambda: raises(UserError("give a number")), never)
    tally.attempt("right", lambda: 1, lambda found: found == 1)
    assert (tally.refused, tally.right, tally.faults) == (1, 1, [])
    tally.attempt("listed", lambda: raises(UserError("cannot attach:\n- one\n- two")), never)
    assert tally.refused == 2
    for name, error in (
        ("raw", TypeError("x")),
        ("leaves", SystemExit(0)),
        ("lines", UserError("a line\nanother")),
        ("empty", UserError("")),
        ("long", UserError("x" * 2000)),
        ("traceback", UserError("Traceback (most recent call last)")),
    ):
        tally.attempt(name, lambda error=error: raises(error), never)  # type: ignore[misc]
    tally.attempt("accepted", lambda: 0, never)
    named = [fault.partition(":")[0] for fault in tally.faults]
    assert named == ["raw", "leaves", "lines", "empty", "long", "traceback", "accepted"]
    assert tally.tried == 10


def test_ctrl_c_is_no_fault() -> None:
    with pytest.raises(KeyboardInterrupt):
        Tally().attempt("stop", lambda: raises(KeyboardInterrupt()), never)


def test_damages_are_seeded_and_change_something() -> None:
    made = [list(damaged(random.Random(1), bytes(range(40)), 60)) for _ in range(2)]
    assert made[0] == made[1]
    assert all(changed != bytes(range(40)) for _, changed in made[0])
    assert {name.split()[0] for name, _ in made[0]} == {each.__name__ for each in DAMAGES}


def test_a_few_damaged_files_of_each_kind() -> None:
    tally = Tally()
    damaged_files.attack(tally, count=60)
    assert tally.faults == []
    assert tally.tried == 60


def test_a_few_rules_by_eight_threads() -> None:
    tally = Tally()
    threads.attack(tally, ("dfa", "pepita"))
    assert tally.faults == []
    assert tally.right == 4


def test_there_are_three_hundred_bad_inputs() -> None:
    names = [each.name for each in bad_inputs.table()]
    assert len(names) >= 300


def test_the_table_shows_faults_and_ratios() -> None:
    row = {"part": "attack", "what": "kills", "tried": 100, "refused": 0, "right": 99}
    row |= {"faults": ["train"], "seconds": None, "memory": 300.4, "skipped": ["no disk"]}
    check = {"part": "bound", "what": "a digest"} | bounds.timed(lambda: sum(range(500)), int, 3)
    made = attacks.table([row, check]).markdown()
    assert "| kills | 100 | 0 | 99 | 1 | – | 300 |" in made
    assert "a digest" in made
    assert "Not tried on this machine: no disk." in made
    assert len(tables.bounds([row, check])[1]) == 1
