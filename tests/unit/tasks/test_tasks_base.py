import copy
import math
import pickle
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.tasks import (
    TASKS,
    Data,
    Split,
    Task,
    accuracy,
)


def make_split(n: int = 4) -> Split:
    return Split(torch.randn(n, 3), torch.arange(n) % 2)


def make_data() -> Data:
    return Data("tiny", make_split(6), make_split(2), make_split(4), classes=("no", "yes"))


def make_task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "tiny",
        "summary": "a tiny task",
        "load": lambda _: make_data(),
        "model": lambda: nn.Linear(3, 2),
    }
    return Task(**(fields | changes))


def test_accuracy_is_the_share_of_right_classes() -> None:
    outputs = torch.tensor([[0.1, 2.0, 0.0], [3.0, 1.0, 2.0], [0.0, 0.0, 1.0], [5.0, 9.0, 7.0]])
    assert accuracy(outputs, torch.tensor([1, 0, 2, 2])) == 0.75
    assert accuracy(outputs, outputs.argmax(1)) == 1.0


@pytest.mark.parametrize(
    ("outputs", "targets"), [((4, 3), (4, 1)), ((4, 3), (3,)), ((4,), (4,)), ((4, 3, 2), (4,))]
)
def test_accuracy_refuses_shapes_that_would_broadcast(
    outputs: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(UserError, match="give the task its own metric"):
        accuracy(torch.zeros(outputs), torch.zeros(targets, dtype=torch.int64))


def test_length_of_a_split_is_its_number_of_samples() -> None:
    assert len(make_split(7)) == 7


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4), r"same first dimension, got \(3, 2\) and \(4,\)"),
        (torch.tensor(1.0), torch.tensor(1.0), "same first dimension"),
        (torch.zeros(0, 2), torch.zeros(0), "needs samples"),
    ],
)
def test_split_refuses(inputs: torch.Tensor, targets: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Split(inputs, targets)


def test_data_refuses_parts_of_different_shapes() -> None:
    wide = Split(torch.zeros(2, 5), torch.zeros(2))
    with pytest.raises(UserError, match=r"a test input has shape \(5,\), a training input \(3,\)"):
        replace(make_data(), test=wide)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 2]), "validation targets run from 0 to 2, but there are 2 classes"),
        (torch.tensor([-1, 0]), "run from -1 to 0"),
        (torch.tensor([0, 1], dtype=torch.int32), "int32"),
        (torch.tensor([[0], [1]]), r"got \(2, 1\)"),
    ],
)
def test_data_refuses_targets_that_are_no_classes(targets: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(make_data(), validation=Split(torch.zeros(2, 3), targets))


def test_without_classes_targets_may_be_anything() -> None:
    split = Split(torch.zeros(2, 3), torch.randn(2, 5))
    assert Data("regression", split, split, split).classes == ()


def test_defaults_of_a_task_train_a_model() -> None:
    task = make_task()
    data, model = task.load(None), task.model()
    before = copy.deepcopy(model.state_dict())
    optimizer = task.optimizer(model.parameters(), task.learning_rate)
    task.loss(model(data.train.inputs), data.train.targets).backward()
    optimizer.step()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == task.learning_rate
    assert all(not torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"load": None}, "load must be callable"),
        ({"metric": "accuracy"}, "metric must be callable"),
        ({"augment": "flip"}, "augment must be callable"),
        ({"model": nn.Linear(3, 2)}, "not a built model"),
        ({"epochs": 0}, "epochs must be a whole number > 0"),
        ({"epochs": True}, "epochs must be a whole number > 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number > 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number > 0"),
        ({"learning_rate": math.inf}, "learning_rate must be a finite number > 0"),
        ({"name": "a/b"}, "name may hold"),
        ({"name": ".."}, "name may hold"),
        ({"name": ""}, "name may hold"),
        ({"blocks": "layers.*"}, r"blocks must be a list of names: \['layers\.\*'\]"),
    ],
)
def test_task_refuses(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        make_task(**changes)


def test_task_lists_every_problem_at_once() -> None:
    with pytest.raises(UserError) as raised:
        make_task(epochs=-1, batch_size=0, learning_rate=-1.0)
    assert str(raised.value).count(";") == 2


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_registered_tasks_reach_a_fresh_process(task: Task) -> None:
    again = pickle.loads(pickle.dumps(task))
    for each in fields(Task):
        assert comparable(getattr(again, each.name)) == comparable(getattr(task, each.name))


def comparable(value: Any) -> Any:
    """Return a value, where it is a partial function what it is made of: no two are equal."""
    if isinstance(value, partial):
        return value.func, [*map(comparable, value.args)], comparable(value.keywords)
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return value
