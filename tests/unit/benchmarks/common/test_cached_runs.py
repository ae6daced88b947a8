from functools import partial
from pathlib import Path

import pytest

from benchmarks.common.cached_runs import cached_runs
from beyondprop.errors import UserError


def one(value: int) -> dict[str, int]:
    return {"value": value}


def test_runs_are_cached_and_not_repeated(tmp_path: Path) -> None:
    jobs = {"a, b": partial(one, 1), "c": partial(one, 2)}
    assert cached_runs(tmp_path, jobs, 1) == {"a, b": {"value": 1}, "c": {"value": 2}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_b.json", "c.json", "log.txt"]
    (tmp_path / "c.json").write_text('{"value": 5}')
    more = {**jobs, "c": partial(one, 3), "d": partial(one, 4)}
    assert [found["value"] for found in cached_runs(tmp_path, more, 1).values()] == [1, 5, 4]


def fails() -> dict[str, int]:
    raise ValueError("no luck")


def test_a_run_that_fails_leaves_the_others_cached(tmp_path: Path) -> None:
    jobs = {"a": partial(one, 1), "b": fails, "c": partial(one, 2), "d": partial(one, 3)}
    why = r"b: ValueError: no luck \(test_cached_runs\.py, line \d+\)"
    with pytest.raises(UserError, match=rf"1 of 4 jobs failed .* \({why}\)"):
        cached_runs(tmp_path, jobs, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.json",
        "c.json",
        "d.json",
        "log.txt",
    ]
    mended = {name: partial(one, 4) for name in jobs}
    assert [found["value"] for found in cached_runs(tmp_path, mended, 1).values()] == [1, 4, 2, 3]
