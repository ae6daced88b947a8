"""One run: what it leaves, that it is fair, and that it can be broken off at any write."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import experiment_tasks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from experiment_tasks import BLOBS, EXPLODING, MISFIT, NOISY, WRONG_CLASSES, blobs
from rich.progress import Progress
from safetensors.torch import load_file
from torch import Tensor

from beyondprop import files
from beyondprop.errors import UserError
from beyondprop.experiment import (
    CompareSpec,
    RunSpec,
    assess,
    compare,
    fit,
    train,
)
from beyondprop.experiment.plan import plan_run
from beyondprop.files import StorageError, read_json, write_sealed
from beyondprop.jobs import lock
from beyondprop.measure import evaluate
from beyondprop.tasks import Data, Samples, Split, Task, from_dataset

FILES = {"spec.json", "record.json", "metrics.jsonl", "weights.safetensors", "checkpoint.pt"}


class Killed(BaseException):
    """Represents `kill -9`: nothing catches it."""


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    curve = [{k: v for k, v in point.items() if k != "seconds"} for point in record["curve"]]
    return {**record, "curve": curve, "provenance": None}


def with_a_gap(data: Data) -> Data:
    inputs = data.train.batch(slice(len(data.train)))[0].clone()
    inputs[3, 0] = torch.nan
    return replace(data, train=Split(inputs, data.train.batch(slice(len(inputs)))[1]))


def without_a_target(data: Data) -> Data:
    """Return data whose targets are numbers, and one of them none."""

    def as_numbers(part: Samples) -> Split:
        inputs, classes = part.batch(slice(len(part)))
        return Split(inputs, classes.float())

    found = replace(data, classes=()).mapped(as_numbers)
    found.train.batch(slice(4))[1][3] = torch.nan
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    train(RunSpec(rule="dfa", seed=3), folder, task=BLOBS)
    return folder


def test_a_run_leaves_its_folder(reference: Path) -> None:
    assert {file.name for file in reference.iterdir()} == FILES
    record = json.loads((reference / "record.json").read_text())
    assert (record["schema"], record["kind"], record["status"]) == (2, "run", "finished")
    assert record["task"] == {
        "name": "blobs",
        "data": "blobs",
        "train": 60,
        "validation": 30,
        "test": 30,
        "augmented": False,
        "metric": "accuracy",
        "classes": ["a", "b", "c"],
    }
    assert record["rule"]["settings"]["projection"]["seed"] == 3
    assert "DirectFeedbackAlignment" in record["rule"]["report"]
    assert record["spec"] == read_json(reference / "spec.json")
    assert record["parameters"] == record["trained_parameters"] == 4 * 12 + 12 + 156 + 39
    assert record["provenance"]["versions"]["torch"] == torch.__version__


def test_the_record_tells_the_weights_that_were_kept(reference: Path) -> None:
    record = json.loads((reference / "record.json").read_text())
    model = experiment_tasks.network()
    model.load_state_dict(load_file(reference / "weights.safetensors"))
    data = blobs()
    test = evaluate(model, data.test, F.cross_entropy, BLOBS.metric, 7)
    assert record["test"]["score"] == test.score
    assert record["test"]["loss"] == pytest.approx(test.loss)
    assert test.confusion is not None
    assert record["test"]["confusion"] == test.confusion.tolist()
    validation = evaluate(model, data.validation, F.cross_entropy, BLOBS.metric, 7)
    assert record["curve"][-1]["validation_score"] == validation.score


def test_the_curve_begins_before_training(reference: Path) -> None:
    curve = json.loads((reference / "record.json").read_text())["curve"]
    assert [(p["epoch"], p["step"]) for p in curve] == [(0, 0), (1, 4), (2, 8), (3, 12), (4, 16)]
    assert curve[0]["train_loss"] is None
    assert curve[0]["seconds"] == 0
    assert all(p["train_loss"] > 0 and p["seconds"] > 0 for p in curve[1:])
    assert list(curve[0]["measures"]["alignment"]["blocks"]["cosine"]) == ["0", "3", "5"]
    last = curve[-1]["measures"]["alignment"]["blocks"]["cosine"]
    assert last["5"] == pytest.approx(1)


def test_metrics_have_a_line_a_step_and_a_line_an_epoch(reference: Path) -> None:
    record = json.loads((reference / "record.json").read_text())
    found = lines(reference)
    steps = [line for line in found if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 17))
    assert [line for line in found if "loss" not in line] == without_times(record)["curve"]
    first = [line["loss"] for line in steps if line["epoch"] == 1]
    assert record["curve"][1]["train_loss"] == pytest.approx(sum(first) / 4)


def test_training_learns(tmp_path: Path) -> None:
    record = train(RunSpec(rule="dfa", learning_rate=0.03), tmp_path / "run", task=BLOBS)
    curve = record["curve"]
    assert curve[-1]["train_loss"] < curve[1]["train_loss"]
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"]


def test_the_learning_rate_falls_linearly_to_zero(tmp_path: Path) -> None:
    seen: list[float] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    def optimizer(parameters: Any, learning_rate: float) -> Watched:
        return Watched(parameters, lr=learning_rate)

    watched = replace(BLOBS, optimizer=optimizer, learning_rate=0.1, epochs=4)
    train(RunSpec(task="watched"), tmp_path / "run", task=watched)
    assert seen == pytest.approx([0.1 * (1 - i / len(seen)) for i in range(len(seen))])


def test_rules_start_from_the_same_weights_and_see_the_same_data(tmp_path: Path) -> None:
    seen: dict[str, list[list[int]]] = {}

    def watched(outputs: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            seen[rule].append(targets.tolist())
        return F.cross_entropy(outputs, targets)

    first = {}
    for rule in ("backprop", "dfa", "fa"):
        seen[rule] = []
        record = train(
            RunSpec(rule=rule, seed=1), tmp_path / rule, task=replace(BLOBS, loss=watched)
        )
        first[rule] = record["curve"][0]["validation_loss"]
    assert len(set(first.values())) == 1
    assert seen["backprop"] == seen["dfa"] == seen["fa"]
    assert seen["dfa"][2:6] != seen["dfa"][8:12]  # another epoch, another order


def shifted(inputs: Tensor) -> Tensor:
    return inputs + 0.1 * torch.randn(inputs.shape).to(inputs.device)


AUGMENTED = replace(BLOBS, augment=shifted)


def test_every_training_batch_is_augmented_and_nothing_else(run_folder: Path) -> None:
    """The evaluations, the alignment and the test see the samples as they are."""
    data, seen = blobs(), []

    class Watched(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x)

    def marked(inputs: Tensor) -> Tensor:
        assert inputs.shape[1:] == (4,)
        return inputs + 100

    watched = replace(BLOBS, model=lambda: Watched(4, 3), augment=marked, load=lambda _: data)
    record = train(RunSpec(rule="backprop"), run_folder, task=watched)
    assert record["task"]["augmented"] is True
    augmented = [x for x in seen if x.mean() > 50]
    # a trial of each size of a batch, then 4 epochs of 4 steps
    assert [len(x) for x in augmented] == [16, 12] + 4 * [16, 16, 16, 12]
    others = [x for x in seen if x.mean() <= 50]
    assert sum(len(x) == 30 for x in others) == 7  # five points of the curve, the test, the probe
    order_of_epoch = assess.order(0, 1, 60)
    first = torch.cat(augmented[2:6]) - 100
    assert torch.allclose(first, data.train.inputs[order_of_epoch], atol=1e-4)
    assert data.train.inputs.abs().max() < 50  # the data themselves are left alone


def test_seeds_differ(reference: Path, tmp_path: Path) -> None:
    other = train(RunSpec(rule="dfa", seed=4), tmp_path / "run", task=BLOBS)
    record = json.loads((reference / "record.json").read_text())
    assert other["curve"][0]["validation_loss"] != record["curve"][0]["validation_loss"]


def test_frozen_leaves_hidden_weights_alone(tmp_path: Path) -> None:
    record = train(RunSpec(rule="frozen", seed=0), tmp_path / "run", task=BLOBS)
    torch.manual_seed(0)
    before = experiment_tasks.network().state_dict()
    after = load_file(tmp_path / "run" / "weights.safetensors")
    assert [key for key in before if not torch.equal(before[key], after[key])] == [
        "5.weight",
        "5.bias",
    ]
    assert record["trained_parameters"] == 39
    last = record["curve"][-1]["measures"]["alignment"]["blocks"]["cosine"]
    assert last == {"0": None, "3": None, "5": pytest.approx(1.0)}


def test_the_test_split_is_evaluated_once_and_by_nothing_else(
    run_folder: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, evaluated = blobs(), []

    def counted(model: Any, split: Split, *others: Any) -> Any:
        evaluated.append(split)
        return evaluate(model, split, *others)

    monkeypatch.setattr(assess, "evaluate", counted)
    train(RunSpec(), run_folder, task=replace(BLOBS, load=lambda _: data))
    *others, last = evaluated
    assert len(others) == 5  # the points of the curve
    assert all(torch.equal(split.inputs, data.validation.inputs) for split in others)
    assert torch.equal(last.inputs, data.test.inputs)
    object.__setattr__(data, "test", None)  # whoever looks at it now fails
    plan = plan_run(RunSpec(), BLOBS, "blobs")
    fit.fit(plan, BLOBS, data, run_folder.with_name("other"), progress)


def test_the_callers_generators_and_threads_are_left_alone(run_folder: Path) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(RunSpec(threads=threads + 1), run_folder, task=BLOBS)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_write_is_resumed_to_the_same_bytes(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Killed before or after the n-th file gets its name, for every n there is."""
    replaced = Path.replace
    kills = 0
    while True:
        countdown = kills

        def dies(self: Path, target: Path) -> Path:
            nonlocal countdown
            countdown -= 1
            if countdown == -1 and not after:
                raise Killed
            result = replaced(self, target)
            if countdown == -1:
                raise Killed
            return result

        folder = tmp_path / str(kills)
        monkeypatch.setattr(Path, "replace", dies)
        try:
            train(RunSpec(rule="dfa", seed=3), folder, task=BLOBS)
        except Killed:
            kills += 1
        else:
            break
        monkeypatch.setattr(Path, "replace", replaced)
        resumed = train(RunSpec(rule="dfa", seed=3), folder, resume=True, task=BLOBS)
        for name in ("weights.safetensors", "spec.json"):
            assert (folder / name).read_bytes() == (reference / name).read_bytes()
        assert lines(folder) == lines(reference)
        expected = read_json(reference / "record.json")
        assert without_times(resumed) == without_times(expected)
        assert {file.name for file in folder.iterdir()} == FILES
    assert kills == 8  # spec, metrics, a checkpoint for each of 4 epochs, weights, record


def test_a_full_disk_loses_nothing(
    reference: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, real = 4, os.fsync

    def fills_up(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fills_up)
    with pytest.raises(UserError, match=r"cannot write .*checkpoint.pt: No space left on device"):
        train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    monkeypatch.setattr(os, "fsync", real)
    train(RunSpec(rule="dfa", seed=3), run_folder, resume=True, task=BLOBS)
    name = "weights.safetensors"
    assert (run_folder / name).read_bytes() == (reference / name).read_bytes()


@pytest.mark.parametrize(
    "task",
    [
        NOISY,
        replace(BLOBS, metric=lambda outputs, _: np.float64(outputs.mean())),
        AUGMENTED,
    ],
    ids=["generators", "numpy metric", "augmented"],
)
def test_a_broken_run_goes_on_as_if_it_had_not_been(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = RunSpec(rule="backprop", seed=2**40)
    expected = train(spec, tmp_path / "unbroken", task=task)
    left, step = 10, torch.optim.Adam.step

    def dies(self: torch.optim.Adam) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", dies)
    with pytest.raises(Killed):
        train(spec, tmp_path / "broken", task=task)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    resumed = train(spec, tmp_path / "broken", resume=True, task=task)
    assert without_times(resumed) == without_times(expected)
    weights = [tmp_path / run / "weights.safetensors" for run in ("broken", "unbroken")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert expected["provenance"]["sessions"] == []
    (earlier,) = resumed["provenance"]["sessions"]
    assert set(earlier) == {"command", "started", "commit"}


def raising(*_: object) -> Any:
    return {}["a"]


def late_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    loss = F.cross_entropy(outputs, targets)
    return loss if len(targets) in (16, 30) or not torch.is_grad_enabled() else raising()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"load": raising}, "the load of task blobs failed: KeyError: 'a'"),
        ({"load": lambda _: None}, "the load of task blobs must return a beyondprop.tasks.Data"),
        ({"split": lambda *_: None}, "the split of task blobs must return a beyondprop.tasks.Data"),
        ({"loss": lambda *_: None}, "it must return a tensor of one number, not a NoneType"),
        ({"metric": lambda *_: None}, "the metric must give one number, not a NoneType"),
        ({"optimizer": lambda *_: None}, "the optimizer of task blobs must return a torch.optim."),
        ({"contrast": lambda *_: None}, "the contrast of task blobs must return a tuple of inp"),
        ({"contrast": lambda *_: (1,)}, "must return two values, inputs and targets"),
        ({"augment": lambda *_: None}, "inputs of type NoneType"),
        ({"load": lambda _: 3}, "the load of task blobs must return a beyondprop.tasks.Data, not"),
        ({"model": raising}, "the model of task blobs failed: KeyError: 'a'"),
        ({"model": lambda: 3}, "the model of task blobs must return a torch.nn.Module, not a int"),
        ({"loss": raising}, "the loss of task blobs failed: KeyError: 'a'"),
        ({"loss": late_loss}, "the loss of task blobs failed: KeyError: 'a'"),
        ({"metric": raising}, "the metric of task blobs failed: KeyError: 'a'"),
        ({"optimizer": raising}, "the optimizer of task blobs failed: KeyError: 'a'"),
        ({"augment": raising}, "the augment of task blobs failed: KeyError: 'a'"),
        ({"augment": lambda inputs: inputs[:, :3]}, r"not fit its data: inputs \(16, 3\) float32"),
    ],
)
def test_an_error_of_the_task_is_one_sentence(
    changed: dict[str, Any], said: str, run_folder: Path
) -> None:
    with pytest.raises(UserError, match=said):
        train(RunSpec(rule="dfa"), run_folder, task=replace(BLOBS, **changed))
    assert not (run_folder / "record.json").exists()


def test_a_run_is_resumed_with_data_from_elsewhere(run_folder: Path, tmp_path: Path) -> None:
    train(RunSpec(data=tmp_path), run_folder, task=BLOBS)
    assert str(tmp_path) not in (run_folder / "record.json").read_text()
    train(RunSpec(), run_folder, resume=True, task=BLOBS)


def test_a_run_that_is_over_is_left_as_is(reference: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in reference.iterdir()}
    record = train(RunSpec(rule="dfa", seed=3), reference, resume=True, task=BLOBS)
    assert record == read_json(reference / "record.json")
    assert {file: file.stat().st_mtime_ns for file in reference.iterdir()} == before


def test_a_used_folder_is_refused(reference: Path) -> None:
    with pytest.raises(UserError, match="add resume=True"):
        train(RunSpec(rule="dfa", seed=3), reference, task=BLOBS)
    with pytest.raises(UserError, match=r"rule \('dfa' there, 'fa' now\)"):
        train(RunSpec(rule="fa", seed=3), reference, resume=True, task=BLOBS)
    with pytest.raises(UserError, match="a longer run must start from scratch"):
        train(RunSpec(rule="dfa", seed=3, epochs=9), reference, resume=True, task=BLOBS)


def test_a_damaged_checkpoint_is_said(run_folder: Path) -> None:
    train(RunSpec(), run_folder, task=BLOBS)
    (run_folder / "record.json").unlink()
    (run_folder / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged.*: delete it"):
        train(RunSpec(), run_folder, resume=True, task=BLOBS)


def test_one_changed_byte_of_a_checkpoint_is_told(run_folder: Path) -> None:
    train(RunSpec(epochs=1), run_folder, task=BLOBS)
    (run_folder / "record.json").unlink()
    checkpoint = run_folder / "checkpoint.pt"
    content = bytearray(checkpoint.read_bytes())
    weight = torch.load(checkpoint, weights_only=True)["model"]["0.weight"]
    content[content.find(weight.numpy().tobytes()) + 3] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(StorageError, match=r"checkpoint.pt is damaged.*: delete it"):
        train(RunSpec(epochs=1), run_folder, resume=True, task=BLOBS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", [1]),
        ("optimizer", 0),
        ("feedback", 3),
        ("feedback", {"0.other": torch.ones(2)}),
        ("generators", {}),
        ("losses", [[0.5]]),
        ("losses", 0),
        ("curve", []),
        ("curve", [{"epoch": 0}, {"epoch": 1}]),
        ("sessions", 4),
        ("stages", [2]),
        ("schema", 10**400),
    ],
)
def test_a_checkpoint_of_something_else_is_one_sentence(
    one_epoch: Path, tmp_path: Path, key: str, value: Any
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_epoch, folder)
    content = torch.load(folder / "checkpoint.pt", weights_only=True) | {key: value}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_sealed(folder / "checkpoint.pt", buffer.getvalue())
    said = r"checkpoint.pt cannot be read as this run's state"
    if key == "feedback" and isinstance(value, dict):
        said = (
            r"checkpoint.pt does not fit this run \(.*'0.other'.*\): resume with the rule, task and"
        )
    with pytest.raises(StorageError, match=said):
        train(RunSpec(epochs=1), folder, resume=True, task=BLOBS)


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    train(RunSpec(epochs=1), folder, task=BLOBS)
    (folder / "record.json").unlink()
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_another_process_works_is_left_to_it(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    run_folder.mkdir()
    other = os.open(run_folder, os.O_RDONLY)
    assert files.lock(other)
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    with pytest.raises(UserError, match="another process works in"):
        train(RunSpec(), run_folder, resume=resume, task=BLOBS)
    os.close(other)
    assert not list(run_folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="it does not delete what is open")
@pytest.mark.parametrize("every", [0.0, 1000.0], ids=["at once", "at the next write"])
def test_a_folder_deleted_while_it_trains_is_told_and_not_made_again(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, every: float
) -> None:
    after = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            after.extend([None] * bool(after))
            if (run_folder / "checkpoint.pt").exists():  # in the second epoch
                shutil.rmtree(run_folder)
                after.append(None)
        return F.cross_entropy(outputs, targets)

    monkeypatch.setattr(fit, "EVERY", every)
    with pytest.raises(StorageError, match="run was deleted, moved or replaced while"):
        train(RunSpec(), run_folder, task=replace(BLOBS, loss=loss))
    assert (len(after) == 1) is (every == 0)  # else the epoch goes on to its end
    assert not run_folder.exists()


def test_a_diverged_run_is_recorded(run_folder: Path) -> None:
    record = train(RunSpec(rule="backprop"), run_folder, task=EXPLODING)
    assert record == read_json(run_folder / "record.json")
    assert record["status"] == "diverged"
    assert "loss became" in record["reason"]
    assert record["test"] is None
    assert len(record["curve"]) == 2  # it ended where it diverged
    again = train(RunSpec(rule="backprop"), run_folder, resume=True, task=EXPLODING)
    assert again["status"] == "diverged"


def test_the_diverging_step_is_named(run_folder: Path) -> None:
    calls = 0

    def sixth_is_nan(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        if outputs.requires_grad and outputs.grad_fn and len(targets) in (16, 12):
            calls += 1
        loss = F.cross_entropy(outputs, targets)
        return loss * math.nan if calls == 10 else loss

    # epoch 0 takes 2 calls for the alignment, epoch 1 takes 4 and 2, epoch 2 comes to its 2nd step
    record = train(RunSpec(rule="backprop"), run_folder, task=replace(BLOBS, loss=sixth_is_nan))
    assert record["reason"] == "the training loss became nan at step 6 (epoch 2)"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            replace(BLOBS, load=lambda folder: with_a_gap(BLOBS.load(folder))),
            "1 of 60 training inputs of task blobs are not finite: leave them out, or fill in",
        ),
        (
            replace(BLOBS, load=lambda folder: without_a_target(BLOBS.load(folder))),
            "1 of 60 training targets of task blobs are not finite: leave them out, or fill in",
        ),
        (MISFIT, r"model of task misfit does not fit its data: inputs \(16, 4\) float32: .*shapes"),
        (
            WRONG_CLASSES,
            r"loss of task wrong-classes does not fit: outputs \(16, 2\) float32, targets \(16,\) "
            "int64: IndexError: Target 2 is out of bounds",
        ),
        (
            replace(BLOBS, loss=lambda outputs, _: outputs),
            r"loss of task blobs does not fit: outputs \(16, 3\)",
        ),
        (
            replace(
                BLOBS,
                load=lambda _: Data("words", *[from_dataset([(torch.zeros(4), "cat")] * 16)] * 3),
            ),
            r"loss of task blobs does not fit: outputs \(16, 3\) float32, targets 16 of type str: ",
        ),
    ],
    ids=["gap", "target", "model", "classes", "loss", "texts"],
)
def test_a_model_that_does_not_fit_is_said_in_one_sentence(
    task: Any, said: str, run_folder: Path
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        train(RunSpec(), run_folder, task=task)
    assert "\n" not in str(refused.value)
    assert not run_folder.exists()  # a mistake leaves no folder to be in the way


def test_a_model_that_a_run_has_had_before_is_told(run_folder: Path, tmp_path: Path) -> None:
    same = BLOBS.model()
    task = replace(BLOBS, model=lambda: same)
    train(RunSpec(epochs=1), run_folder, task=task)
    with pytest.raises(UserError, match="model of task blobs returns the same weights each time"):
        train(RunSpec(epochs=1), tmp_path / "second", task=task)
    assert not (tmp_path / "second").exists()


def test_a_batch_too_small_for_the_model_is_found_before_training(run_folder: Path) -> None:
    def normed() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))

    with pytest.raises(
        UserError, match=r"inputs \(1, 4\) float32: ValueError: Expected more than 1 value"
    ) as one:
        train(RunSpec(batch_size=59), run_folder, task=replace(BLOBS, model=normed))
    last = "60 training samples leave a last batch of 1: choose another batch_size than 59"
    assert str(one.value).endswith(last)
    spec = RunSpec(rule="scff", batch_size=59)
    with pytest.raises(
        UserError, match=f"the rule scff needs 2 samples or more in a batch; {last}"
    ):
        train(spec, run_folder, task=BLOBS)
    both = CompareSpec(rules=("scff",), batch_size=59, measure_cost=False)
    with pytest.raises(
        UserError, match=f"the rule scff needs 2 samples or more in a batch; {last}"
    ):
        compare(both, run_folder, task=BLOBS)
    assert not run_folder.exists()


def regression(targets: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Data]:
    def load(folder: Path | None) -> Data:
        found = blobs(folder)
        train, validation, test = (
            Split(part.inputs, targets(part.inputs.sum(1, keepdim=True)))
            for part in (found.train, found.validation, found.test)
        )
        return Data("sums", train, validation, test)

    return load


def one_output(features: int = 1) -> torch.nn.Module:
    last = torch.nn.Linear(8, features)
    torch.nn.init.zeros_(last.weight)  # all outputs are alike at first, which is no fault
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), last)


SUMS = replace(
    BLOBS,
    name="sums",
    model=one_output,
    metric=lambda outputs, targets: -F.mse_loss(outputs, targets.view_as(outputs)).item(),
    metric_name="-mse",
)


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        (lambda y: y.squeeze(1), F.mse_loss),
        (lambda y: y.squeeze(1), F.l1_loss),
        (lambda y: y.squeeze(1), lambda outputs, targets: (outputs - targets).abs().mean()),
        (lambda y: torch.zeros(len(y)), F.mse_loss),
        (lambda y: y.unsqueeze(2), F.smooth_l1_loss),
    ],
    ids=["mse", "l1", "own", "constant", "one-more"],
)
def test_a_loss_that_broadcasts_is_refused(targets: Any, loss: Any, run_folder: Path) -> None:
    task = replace(SUMS, load=regression(targets), loss=loss)
    with pytest.raises(UserError, match=r"loss of task sums .* is compared with every"):
        train(RunSpec(epochs=1), run_folder, task=task)
    assert not run_folder.exists()


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        (lambda y: y, F.mse_loss),
        (lambda y: y.squeeze(1), lambda o, y: F.mse_loss(o.squeeze(1), y)),
        (lambda y: y[:, 0] * 0, lambda o, y: F.mse_loss(o, y.view_as(o))),
        (
            lambda y: (y > 0).long().squeeze(1),
            lambda o, y: F.binary_cross_entropy_with_logits(o.squeeze(1), y.float()),
        ),
    ],
    ids=["alike", "squeezed", "constant", "classes"],
)
def test_a_loss_that_reshapes_is_taken(targets: Any, loss: Any, run_folder: Path) -> None:
    task = replace(SUMS, load=regression(targets), loss=loss)
    assert train(RunSpec(epochs=1), run_folder, task=task)["status"] == "finished"


@pytest.mark.parametrize("rule", ["dfa", "fa", "pepita", "dkp", "dtp"])
def test_targets_in_double_precision_teach_alike(rule: str, tmp_path: Path) -> None:
    def trained(targets: Callable[[Tensor], Tensor], folder: str) -> float:
        task = replace(SUMS, load=regression(targets), loss=F.mse_loss)
        record = train(RunSpec(rule=rule, epochs=1), tmp_path / folder, task=task)
        return float(record["test"]["loss"])

    single, double = trained(lambda y: y, "single"), trained(Tensor.double, "double")
    assert single == pytest.approx(double, rel=1e-5)


def test_class_numbers_in_double_precision_are_told_before_training(run_folder: Path) -> None:
    numbers = replace(SUMS, load=regression(lambda y: (y > 0)[:, 0].double()), model=BLOBS.model)
    with pytest.raises(UserError, match=r"outputs \(16, 3\) float32, targets \(16,\) float64: "):
        train(RunSpec(), run_folder, task=numbers)
    assert not run_folder.exists()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RunSpec(rule="bp"), "unknown rule 'bp'"),
        (RunSpec(blocks=("layer*",)), "pattern 'layer\\*' matches no"),
        (RunSpec(device="abacus"), "device 'abacus' cannot be used here"),
        (RunSpec(device="meta"), "device 'meta' has shapes but no numbers"),
        (RunSpec(threads=10**6), "threads must be at most .* not 1000000"),
        (
            RunSpec(measures=("probe", "probe")),
            "two measures have a figure with the same name: probe",
        ),
        (RunSpec(measures=("prob",)), "unknown measure 'prob'"),
        (
            RunSpec(rule={"rule": "experiment_rules:Breaks", "where": "install"}),
            "attaching the rule breaks-in-install failed: KeyError",
        ),
    ],
)
def test_what_cannot_be_run_leaves_no_folder(spec: RunSpec, said: str, run_folder: Path) -> None:
    with pytest.raises(UserError, match=said):
        train(spec, run_folder, task=BLOBS)
    assert not run_folder.exists()
