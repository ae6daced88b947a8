"""A comparison by several processes, killed at any moment, and one that grows."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import experiment_tasks
import pytest
from experiment_tasks import BLOBS, SLOW, deadly
from rich.progress import Progress

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare, fit
from beyondprop.experiment.growing import own_name
from beyondprop.files import StorageError
from beyondprop.jobs import Workers

SPEC = CompareSpec(
    rules=("backprop", "dfa", "frozen"),
    seeds=(0, 1),
    learning_rates=(0.001, 0.03),
    measure_cost=False,
)
TWO = Workers(jobs=2)
TIMED = ("seconds", "train_seconds", "provenance", "sha256")
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")


def without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: without_times(v) for k, v in value.items() if k not in TIMED}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def content(folder: Path) -> dict[str, Any]:
    """Return what every file of a comparison holds, times and sessions aside."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.suffix == ".safetensors":
            found[name] = file.read_bytes()
        elif file.suffix == ".json" and file.name != "sessions.json":
            found[name] = without_times(json.loads(file.read_text()))
        elif file.suffix == ".jsonl":
            lines = file.read_text().splitlines()
            found[name] = [without_times(json.loads(each)) for each in lines]
    return found


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("serial") / "c"
    compare(SPEC, folder, task=SLOW)
    return folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs and trials that this process trains from now on."""
    found: list[str] = []
    seed = fit.checkpoint.seed_generators

    def seeded(number: int) -> None:
        found.append(f"seed {number}")
        seed(number)

    monkeypatch.setattr(fit.checkpoint, "seed_generators", seeded)
    return found


def test_two_processes_leave_the_same_bytes_as_one(serial: Path, tmp_path: Path) -> None:
    found = compare(SPEC, tmp_path / "c", task=SLOW, workers=TWO)
    assert content(tmp_path / "c") == content(serial)
    assert found["provenance"]["workers"]["kind"] == "processes"
    assert (found["provenance"]["workers"]["jobs"], found["runs"][0]["spec"]["threads"]) == (2, 1)
    alone = json.loads((serial / "comparison.json").read_text())["provenance"]["workers"]
    assert alone == {"kind": "serial", "jobs": 1, "threads": 1}


def test_a_run_whose_process_always_dies_is_recorded_as_failed(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop", "dfa"), learning_rates=(0.01,), seeds=(0,))
    task = replace(BLOBS, name="deadly", optimizer=deadly)
    found = compare(spec, tmp_path / "c", task=task, workers=TWO)
    *runs, linear = found["runs"]
    assert linear["status"] == "finished"  # it needs no optimizer
    assert {run["status"] for run in runs} == {"failed"}
    reason = "its process died 3 times (killed, or out of memory)"
    assert {run["reason"] for run in runs} == {reason}


# Growing ------------------------------------------------------------------------------------------


def test_only_what_is_added_is_trained(tmp_path: Path, trained: list[str]) -> None:
    small = replace(SPEC, rules=("backprop", "frozen"), seeds=(0,))
    compare(small, tmp_path / "c", task=BLOBS)
    kept = {f: f.read_bytes() for f in tmp_path.glob("c/runs/*/*")}
    trained.clear()
    more = replace(SPEC, rules=("dfa",), seeds=(1, 2))
    found = compare(more, tmp_path / "c", resume=True, task=BLOBS)
    # Trials of the new rule, its three seeds, and two new seeds of the two rules before.
    trials = len([t for t in found["tuning"]["trials"] if t["rule"] == "dfa"])
    assert sorted(trained) == ["seed 0", *["seed 1"] * 3, *["seed 1000"] * trials, *["seed 2"] * 3]
    assert {f: f.read_bytes() for f in kept} == kept
    assert [row["rule"] for row in found["rows"]] == ["backprop", "dfa", "frozen", "linear"]
    assert [row["runs"] for row in found["rows"]] == [3, 3, 3, 3]
    trained.clear()
    whole = compare(replace(SPEC, seeds=(0, 1, 2)), tmp_path / "whole", task=BLOBS)
    assert without_times(whole) == without_times(found)
    trained.clear()
    assert compare(small, tmp_path / "c", resume=True, task=BLOBS) == found
    assert trained == []


def test_growth_that_was_broken_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,))
    compare(spec, tmp_path / "c", task=BLOBS)
    monkeypatch.setattr("beyondprop.experiment.comparison.run", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(replace(spec, seeds=(1,)), tmp_path / "c", resume=True, task=BLOBS)
    monkeypatch.undo()
    found = compare(spec, tmp_path / "c", resume=True, task=BLOBS)
    assert [run["seed"] for run in found["runs"]] == [0, 1, 0, 1]  # backprop, linear


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_rules_and_seeds_that_are_not_named_stay(tmp_path: Path, trained: list[str]) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(5,), learning_rates=(0.01,))
    compare(spec, tmp_path / "c", task=BLOBS)
    trained.clear()
    open_spec = replace(spec, rules=None, seeds=None)
    compare(open_spec, tmp_path / "c", resume=True, task=BLOBS)
    assert trained == []
    compare(replace(open_spec, rules=("dfa",)), tmp_path / "c", resume=True, task=BLOBS)
    assert trained == ["seed 5"]


def test_what_is_added_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,))
    compare(spec, tmp_path / "c", task=BLOBS)
    capsys.readouterr()
    compare(replace(spec, rules=("dfa",), seeds=(3,)), tmp_path / "c", resume=True, task=BLOBS)
    said = " ".join(capsys.readouterr().err.split())
    assert "rules dfa and seeds 3" in said


def test_a_seed_that_chose_the_rates_is_not_added(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,), tuning_seed=7)
    compare(spec, tmp_path / "c", task=BLOBS)
    with pytest.raises(UserError, match="tuning_seed"):
        compare(replace(spec, seeds=(5,), tuning_seed=0), tmp_path / "c", resume=True, task=BLOBS)


def test_a_folder_of_ones_own_grows_but_holds_no_other_settings() -> None:
    name = own_name(SPEC)
    assert name.startswith("compare-fashion-small-")
    assert own_name(replace(SPEC, rules=("dfa",), seeds=(5,))) == name
    assert own_name(replace(SPEC, epochs=3)) != name
    assert own_name(replace(SPEC, task="digits-conv")).startswith("compare-digits-conv-")


def test_two_comparisons_at_once_in_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beyondprop.jobs.lock.PATIENCE", 0.0)
    folder = tmp_path / "c"
    refused = []

    def load(_: Path | None) -> Any:
        if folder.exists() and not refused:
            refused.append("")
            with pytest.raises(UserError, match="another process works in"):
                compare(SPEC, folder, task=BLOBS)
        return experiment_tasks.blobs()

    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,))
    compare(spec, folder, task=replace(BLOBS, load=load))
    assert refused


def test_weights_that_are_not_what_their_record_says_are_told(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,))
    compare(spec, tmp_path / "c", task=BLOBS)
    (weights,) = tmp_path.glob("c/runs/backprop*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    more = replace(spec, seeds=(1,))
    with pytest.raises(StorageError, match=r"weights.safetensors does not match its record"):
        compare(more, tmp_path / "c", resume=True, task=BLOBS)


def test_weights_that_are_missing_are_made_again(
    tmp_path: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = replace(SPEC, rules=("backprop", "dfa"), seeds=(0,), learning_rates=(0.01,))
    before = compare(spec, tmp_path / "c", task=BLOBS)
    weights = tmp_path / "c/runs/dfa-seed0/weights.safetensors"
    content = weights.read_bytes()
    trained.clear()
    weights.unlink()
    found = compare(replace(spec, seeds=(1,)), tmp_path / "c", resume=True, task=BLOBS)
    assert sorted(trained) == ["seed 0", "seed 1", "seed 1"]
    assert weights.read_bytes() == content
    said = "dfa, seed 0: its weights.safetensors is missing, so the run is repeated"
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "c/log.txt").read_text()
    assert without_times(found["runs"][:2]) == without_times(before["runs"][:2])


# Killed -------------------------------------------------------------------------------------------

WORDS = ("--rules", "backprop", "dfa", "frozen", "--seeds", "0", "1", "--learning_rates")
COMMAND = (
    *("compare", "--task", "experiment_tasks:SLOW", *WORDS, "0.001", "0.03"),
    *("--measure_cost", "false", "--jobs", "2", "--output", "c"),
)


def started(folder: Path, *more: str, slow: str = "0.05") -> subprocess.Popen[str]:
    here = str(Path(experiment_tasks.__file__).parent)
    path = os.pathsep.join([here, *(each for each in sys.path if each)])
    return subprocess.Popen(
        [sys.executable, "-m", "beyondprop", *COMMAND, *more],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "SLOW_LOSS": slow},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background ignores the signal, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def children(parent: int) -> list[int]:
    """Return the workers that a process has."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == parent and "loky" in command and "resource_tracker" not in command:
            found.append(int(stat.parent.name))
    return found


def over(folder: Path) -> dict[Path, bytes]:
    """Return the results that are there."""
    found = [*folder.glob("c/runs/*/record.json"), *folder.glob("c/tuning/*/trial.json")]
    return {file: file.read_bytes() for file in found}


def await_results(process: subprocess.Popen[str], folder: Path, count: int) -> list[int]:
    """Return the workers when so many results are there."""
    until = time.monotonic() + 120
    while len(over(folder)) < count or not children(process.pid):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    return children(process.pid)


def gone(workers: list[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(alive(worker) for worker in workers):
            return True
        time.sleep(0.05)
    return False


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def kill_the_main_process(folder: Path, results: int, delay: float, serial: Path) -> None:
    process = started(folder)
    workers = await_results(process, folder, results)
    time.sleep(delay)
    before = over(folder)
    process.kill()
    process.communicate()
    assert len(before) >= results
    # At once, while workers may still be about to notice.
    finish(started(folder, "--resume", slow="0"))
    assert gone(workers, 5)
    assert {file: file.read_bytes() for file in before} == before
    assert content(folder / "c") == content(serial)


def kill_a_worker(folder: Path, results: int, delay: float, serial: Path) -> None:
    process = started(folder)
    workers = await_results(process, folder, results)
    time.sleep(delay)
    os.kill(random.Random(results).choice(workers), signal.SIGKILL)
    before = over(folder)
    finish(process)
    assert {file: file.read_bytes() for file in before} == before
    assert content(folder / "c") == content(serial)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same comparison in this process, by the task's name."""
    folder: Path = tmp_path_factory.mktemp("reference") / "c"
    compare(replace(SPEC, task="experiment_tasks:SLOW"), folder, progress=Progress(disable=True))
    return folder


KILLS = pytest.mark.parametrize("kill", [kill_the_main_process, kill_a_worker])


@linux
@KILLS
def test_killed_once(kill: Any, tmp_path: Path, reference: Path) -> None:
    kill(tmp_path, 4, 0.3, reference)


@linux
@pytest.mark.slow
@KILLS
@pytest.mark.parametrize("moment", range(20))
def test_killed_at_any_moment(kill: Any, moment: int, tmp_path: Path, reference: Path) -> None:
    # From before the first of ten results to the last run but one.
    kill(tmp_path, moment * 9 // 20, random.Random(moment).uniform(0, 0.8), reference)


@linux
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path, reference: Path) -> None:
    process = started(tmp_path)
    workers = await_results(process, tmp_path, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    *_, last = said.splitlines()
    assert last == f"beyondprop: interrupted; to continue: beyondprop {' '.join(COMMAND)} --resume"
    assert "Traceback" not in said
    assert gone(workers, 2)
    finish(started(tmp_path, "--resume", slow="0"))
    assert content(tmp_path / "c") == content(reference)
