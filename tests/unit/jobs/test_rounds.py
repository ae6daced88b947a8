"""What is begun again when a pool breaks, and what is given up."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from beyondprop.jobs.board import Line, _write, open_board
from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed
from beyondprop.jobs.rounds import in_rounds


def test_only_the_job_at_fault_is_given_up(tmp_path: Path) -> None:
    board, rounds = open_board(tmp_path), list[list[str]]()
    jobs = [Packed(name, b"", (), tmp_path, board) for name in ("a", "deadly", "b", "c")]

    def one_round(left: Sequence[Packed]) -> Generator[Outcome, None, None]:
        names = [job.name for job in left]
        rounds.append(names)
        if "deadly" not in names:
            yield from (Outcome(name, 1) for name in names)
            return
        for name in names[:2]:  # two run when the pool breaks
            _write(board, name, [Line("at work", 0, None)])
        raise RuntimeError("a worker died")

    found = {outcome.name: outcome for outcome in in_rounds(jobs, one_round, board)}
    assert rounds == [["a", "deadly", "b", "c"]] * 2 + [["b", "c"], ["a"], ["deadly"]]
    assert [name for name, outcome in found.items() if outcome.error] == ["deadly"]
    assert found.keys() == {"a", "b", "c", "deadly"}
    assert not list(board.glob("*.json"))


def test_a_pool_that_never_starts_gives_all_jobs_up(tmp_path: Path) -> None:
    board = open_board(tmp_path)

    def one_round(_: Sequence[Packed]) -> Generator[Outcome, None, None]:
        yield from ()
        raise OSError("no processes")

    jobs = [Packed(name, b"", (), tmp_path, board) for name in "ab"]
    assert all(outcome.error for outcome in in_rounds(jobs, one_round, board))
