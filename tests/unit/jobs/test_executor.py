"""Jobs in this process and in others: the same outcomes, whatever becomes of the workers."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from job_work import (
    breaks,
    die,
    die_once,
    full,
    greedy,
    job,
    settings,
    slowly,
    square,
    where,
    workers,
)
from rich.console import Console
from rich.progress import Progress

from beyondprop.errors import UserError, install
from beyondprop.files import StorageError
from beyondprop.jobs import Executor, Workers, places, values
from beyondprop.jobs.board import board_of, reports

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")


def quiet() -> Progress:
    return Progress(console=Console(file=io.StringIO(), width=200), disable=True)


def said(executor: Executor) -> str:
    file = executor.progress.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    folder = tmp_path_factory.mktemp("two")
    place = places.find(Workers(jobs=2, worker_memory=2), threads=1)
    with Executor(folder, quiet(), place) as executor:
        yield executor
    assert not board_of(folder).exists()


@pytest.fixture
def serial(tmp_path: Path) -> Executor:
    return Executor(tmp_path, quiet())


@pytest.fixture(params=["serial", "two"])
def executor(request: pytest.FixtureRequest) -> Executor:
    found: Executor = request.getfixturevalue(request.param)
    return found


def test_values_come_in_the_order_of_the_jobs(executor: Executor) -> None:
    jobs = [job(f"square of {n}", square, n) for n in range(5)]
    assert values(executor.perform("squares", jobs)) == [0, 1, 4, 9, 16]
    assert executor.perform("nothing", []) == []


def test_what_is_over_is_not_done_again(executor: Executor) -> None:
    jobs = [job("a", breaks, earlier=partial(int, 7)), job("b", square, 3)]
    assert values(executor.perform("some", jobs)) == [7, 9]


def test_what_came_of_each_is_said_and_kept(executor: Executor) -> None:
    executor.perform("told", [job("a", square, 5), job("b", breaks)], lambda v: f"it is {v}")
    for text in (said(executor), (executor.folder / "log.txt").read_text()):
        assert "it is 25\n" in text
        assert "b failed: ValueError: no luck (job_work.py, line 38)\n" in text


def test_a_job_that_fails_is_named_and_the_others_go_on(executor: Executor) -> None:
    outcomes = executor.perform("some", [job("a", breaks), job("b", square, 2)])
    assert [outcome.value for outcome in outcomes] == [None, 4]
    with pytest.raises(
        UserError, match=r"1 of 2 jobs failed .*\(a: ValueError: no luck \(job_work.py, line 38\)\)"
    ):
        values(outcomes)


def test_a_full_disk_ends_all_jobs(executor: Executor) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        executor.perform("some", [job("a", full), *(job(f"b{n}", square, n) for n in range(9))])


def test_a_dead_workers_job_is_begun_again(two: Executor, tmp_path: Path) -> None:
    jobs = [job("dies once", die_once, tmp_path / "mark"), job("lives", square, 3)]
    assert values(two.perform("some", jobs)) == [2, 9]


def test_a_job_whose_worker_always_dies_is_given_up_and_no_other(two: Executor) -> None:
    jobs = [job("a", square, 2), job("deadly", die), job("slow", slowly, 0.5), job("b", square, 3)]
    outcomes = two.perform("some", jobs)
    assert [outcome.value for outcome in outcomes] == [4, None, "slow", 9]
    assert "its process died 3 times (killed, or out of memory)" in str(outcomes[1].error)


@linux
def test_workers_keep_to_their_threads_and_memory(two: Executor) -> None:
    first, second = two.perform("some", [job("a", settings), job("b", greedy)])
    assert first.value == {"omp": "1", "memory": 2 * 2**30, "ctrl_c": True}
    assert str(second.error).startswith("MemoryError")
    assert two.place is not None
    assert two.place.describe() == {
        "kind": "processes", "jobs": 2, "threads": 1, "memory_gib": 2,
    }  # fmt: skip


@linux
def test_what_measures_time_runs_here_after_the_workers_are_gone(two: Executor) -> None:
    jobs = [job("timed", workers, measures_time=True), job("there", where), job("b", square, 2)]
    here, there, _ = values(two.perform("some", jobs))
    assert here == []
    assert there != os.getpid()


def test_bars_of_workers_are_shown_here(two: Executor) -> None:
    seen = set[str]()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            seen.update(task.description for task in two.progress.tasks)

    watcher = threading.Thread(target=look)
    watcher.start()
    two.perform("all", [job("a", slowly, 2.0)])
    over.set()
    watcher.join()
    assert {"all", "slow work"} <= seen
    assert not two.progress.tasks
    assert reports(board_of(two.folder)) == {}


def test_what_workers_of_a_lost_cluster_left_is_removed(serial: Executor) -> None:
    board = board_of(serial.folder)
    board.mkdir(parents=True)
    (board / "a.json").write_text('{"name": "a", "lines": []}')
    with serial:
        assert values(serial.perform("some", [job("b", square, 2)])) == [4]
    assert not board.exists()


def test_plain_lines_say_how_it_stands(serial: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beyondprop.jobs.view.EVERY", 0.5)
    serial.perform("all", [job("a", slowly, 2.0)])
    assert "all: 0 of 1\n" in said(serial)
    assert "slow work: " in said(serial)


def test_what_does_not_pickle_is_told_before_anything_starts(two: Executor) -> None:
    held = threading.Lock()
    with pytest.raises(UserError, match=r"a cannot be sent .* set jobs=1"):
        two.perform("some", [job("a", lambda lock, _: lock, held)])


def test_a_worker_that_does_not_see_the_folder_says_so(
    two: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beyondprop.jobs.packing.board_of", lambda _: Path("/nowhere/.jobs"))
    (outcome,) = two.perform("some", [job("a", square, 2)])
    assert "does not see the folder /nowhere/.jobs: use a folder that all machines" in str(
        outcome.error
    )


@pytest.mark.parametrize(
    ("workers", "problem"),
    [
        (Workers(jobs=10_000), "jobs must be at most"),
        (Workers(cluster="http://x"), "there is no cluster 'http://x'; write ray://HOST"),
    ],
)
def test_workers_that_cannot_be(workers: Workers, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        places.find(workers, threads=1)


@pytest.mark.parametrize(
    "cluster", ["ray", "auto", "ray://there:10001", "dask", "tcp://there:8786"]
)
def test_a_cluster_whose_package_is_missing(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ray", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=re.escape(install("cluster"))):
        places.find(Workers(cluster=cluster), threads=1)


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"worker_memory": 0.0}])
def test_numbers_that_no_workers_can_have(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be"):
        Workers(**wrong)  # type: ignore[arg-type]


@linux
def test_memory_is_shared_out_unless_there_is_an_accelerator() -> None:
    one, two = (places.find(Workers(jobs=jobs), threads=1).describe() for jobs in (2, 4))
    assert one["memory_gib"] == pytest.approx(2 * two["memory_gib"], abs=0.2)
    assert places.find(Workers(jobs=2), 1, accelerators=1).describe()["memory_gib"] is None


def test_who_works_serially() -> None:
    assert [Workers().serial, Workers(jobs=1).serial] == [True, True]
    assert [Workers(jobs=2).serial, Workers(jobs=1, cluster="ray").serial] == [False, False]


def test_a_worker_whose_parent_was_gone_before_it_began_ends_too() -> None:
    code = "import time; from beyondprop.jobs.processes import begin; begin(None, 1); "
    done = subprocess.run([sys.executable, "-c", f"{code}time.sleep(60)"], timeout=50, check=False)
    assert done.returncode == 1
