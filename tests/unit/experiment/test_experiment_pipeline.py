"""Runs on several processes: the same command, killed in the middle, resumed to the same end."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from experiment_tasks import BLOBS
from safetensors.torch import load_file

from benchmarks.common.ports import free_port
from beyondprop.cli import app as cli
from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.experiment.processes import on_first
from beyondprop.experiment.storage import check_claim

SECONDS = 60
COMMAND = ["train", "--task", "experiment_tasks:SLOW", "--rule", "dgl", "--schedule", "pipeline"]

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch was built without gloo",
)


def work(rank: int, port: int, folder: str, words: list[str], wait: str) -> None:
    """Do what `torchrun` has one process do; what it prints goes to files."""
    settings = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in settings.items()} | {"SLOW_LOSS": wait}
    sys.stdout = Path(f"{folder}.{rank}.out").open("w", buffering=1)  # noqa: SIM115
    sys.stderr = Path(f"{folder}.{rank}.err").open("w", buffering=1)  # noqa: SIM115
    sys.exit(cli.main([*COMMAND, "--output", folder, *words]))


def start(folder: Path, *words: str, wait: str = "0") -> list[BaseProcess]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["beyondprop.experiment.run", "torch._dynamo"])
    port = free_port()
    children = [
        context.Process(target=work, args=(rank, port, str(folder), list(words), wait))
        for rank in range(2)
    ]
    for child in children:
        child.start()
    return children


def codes(children: list[BaseProcess], seconds: float = SECONDS) -> list[int | None]:
    """The exit codes; what has not ended by then is killed."""
    end = time.monotonic() + seconds
    for child in children:
        child.join(max(0, end - time.monotonic()))
    found = [child.exitcode for child in children]
    for child in children:
        child.kill()
        child.join()
        child.close()
    return found


def printed(folder: Path, rank: int, stream: str) -> str:
    return Path(f"{folder}.{rank}.{stream}").read_text()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    assert codes(start(folder)) == [0, 0]
    return folder


def test_the_first_process_alone_writes_and_prints(unbroken: Path) -> None:
    assert "dgl on slow: test accuracy" in printed(unbroken, 0, "out")
    assert [printed(unbroken, 1, stream) for stream in ("out", "err")] == ["", ""]
    record = json.loads((unbroken / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["spec"]["schedule"] == "pipeline"
    steps = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert sum("loss" in line for line in steps) == 16
    saved = torch.load(unbroken / "checkpoint.pt", weights_only=True)
    assert sum(saved["stages"]["sizes"]) == 3
    # Adam's moments of three linear layers and of the classifiers on two of them.
    assert len(saved["optimizer"]["state"]) == 2 * (3 + 2)


def test_one_seed_gives_the_same_bytes_whatever_the_time_takes(
    unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert codes(start(folder, wait="0.02")) == [0, 0]
    same = [(each / "weights.safetensors").read_bytes() for each in (folder, unbroken)]
    assert same[0] == same[1]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_stage_ends_the_others_and_resumed_the_end_is_the_same(
    unbroken: Path, tmp_path: Path, victim: int
) -> None:
    folder = tmp_path / "run"
    children = start(folder, wait="0.05")
    while all(child.is_alive() for child in children) and not (folder / "checkpoint.pt").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(children[victim].pid or 0, signal.SIGKILL)
    expected = [2, 2]
    expected[victim] = -signal.SIGKILL
    assert codes(children, seconds=10) == expected
    said = printed(folder, 1 - victim, "err")
    assert f"stage {1 - victim} cannot reach stage {victim}: its process has ended" in said
    assert "--resume" in said
    assert not (folder / "record.json").exists()
    assert codes(start(folder, "--resume")) == [0, 0]
    same = [(each / "weights.safetensors").read_bytes() for each in (folder, unbroken)]
    assert same[0] == same[1]


def test_a_mistake_is_told_by_every_process_and_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert codes(start(folder, "--rule", "fa")) == [2, 2]
    for rank in range(2):
        assert "no pipeline can be made: under FeedbackAlignment" in printed(folder, rank, "err")
    assert not folder.exists()


def test_what_is_there_is_not_overwritten_by_any_process(unbroken: Path) -> None:
    before = (unbroken / "record.json").read_bytes()
    assert codes(start(unbroken)) == [2, 2]
    assert "is not empty; add --resume" in printed(unbroken, 0, "err")
    assert (unbroken / "record.json").read_bytes() == before


# In this process alone ----------------------------------------------------------------------------


def test_without_torchrun_the_command_is_told(run_folder: Path) -> None:
    with pytest.raises(UserError, match="torchrun --nproc-per-node 2 -m beyondprop train --task"):
        train(RunSpec(schedule="pipeline"), run_folder)
    assert not run_folder.exists()


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What `torchrun` sets for one process whose fellow never comes."""
    settings = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    return monkeypatch


def refused(folder: Path) -> str:
    """What a pipeline says that cannot begin."""
    with pytest.raises(UserError) as caught:
        train(RunSpec(task="digits-mlp", rule="dgl", schedule="pipeline"), folder)
    assert not folder.exists()
    return str(caught.value)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_whose_fellow_never_comes_says_so(
    run_folder: Path, one_of_two: pytest.MonkeyPatch, rank: int
) -> None:
    one_of_two.setenv("RANK", str(rank))
    one_of_two.setattr("beyondprop.experiment.processes.MEETING", timedelta(seconds=1))
    told = f"process {rank} of 2 has waited for the others for 0:00:01: start all of them"
    assert refused(run_folder).startswith(told)


def test_a_port_in_use_is_told_at_once(run_folder: Path, one_of_two: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as busy:
        port = busy.getsockname()[1]
        one_of_two.setenv("MASTER_PORT", str(port))
        begun = time.monotonic()
        said = refused(run_folder)
    assert time.monotonic() - begun < SECONDS
    assert said.startswith(f"process 0 cannot connect to the others at 127.0.0.1, port {port} (")
    assert "give all processes another MASTER_PORT that no program uses" in said
    assert "waited" not in said


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RANK", "x", "from 0 to 1, not 'x'"),
        ("RANK", "2", "from 0 to 1, not '2'"),
        ("WORLD_SIZE", "two", "of at least 1, not 'two'"),
        ("WORLD_SIZE", "0", "of at least 1, not '0'"),
        ("MASTER_PORT", "abc", "from 1 to 65535, not 'abc'"),
        ("MASTER_PORT", "99999", "from 1 to 65535, not '99999'"),
    ],
)
def test_settings_of_torchrun_that_are_no_numbers_are_named(
    run_folder: Path, one_of_two: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    one_of_two.setenv(name, value)
    assert refused(run_folder).startswith(f"{name} must be a whole number {told}: start")


def test_a_number_of_processes_that_is_none_is_named_without_a_pipeline(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "x")
    with pytest.raises(UserError, match="WORLD_SIZE must be a whole number of at least 1, not 'x'"):
        train(RunSpec(), run_folder, task=BLOBS)


def test_several_processes_do_not_train_one_run_each(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="add schedule=pipeline, or start one process"):
        train(RunSpec(), run_folder, task=BLOBS)


def test_an_unknown_schedule_is_named(run_folder: Path) -> None:
    with pytest.raises(UserError, match="unknown schedule 'late'; there are joint, immediate"):
        train(RunSpec(schedule="late"), run_folder, task=BLOBS)


def train_frozen(folder: Path) -> Path:
    train(RunSpec(rule="frozen", schedule="immediate"), folder, task=BLOBS)
    return folder / "weights.safetensors"


def test_blocks_that_learn_at_once_learn(run_folder: Path) -> None:
    record = train(RunSpec(rule="dgl", schedule="immediate"), run_folder, task=BLOBS)
    assert record["status"] == "finished"
    initial = load_file(train_frozen(run_folder.with_name("frozen")))
    learned = load_file(run_folder / "weights.safetensors")
    assert all(not torch.equal(learned[key], initial[key]) for key in ("0.weight", "3.weight"))


def test_a_rule_that_cannot_learn_at_once_is_refused_before_anything_is_written(
    run_folder: Path,
) -> None:
    with pytest.raises(UserError, match="DirectFeedbackAlignment cannot train a block during"):
        train(RunSpec(rule="dfa", schedule="immediate"), run_folder, task=BLOBS)
    assert not run_folder.exists()


def test_a_spec_of_before_there_were_schedules_is_resumed(run_folder: Path) -> None:
    run_folder.mkdir()
    (run_folder / "spec.json").write_text('{"seed": 1}')
    check_claim(run_folder, {"seed": 1, "schedule": "joint"}, resume=True)
    check_claim(run_folder, {"seed": 1}, resume=True)
    with pytest.raises(UserError, match=r"schedule \('joint' there, 'pipeline' now\)"):
        check_claim(run_folder, {"seed": 1, "schedule": "pipeline"}, resume=True)


def test_one_process_is_the_first() -> None:
    assert on_first(lambda: 3) == 3
