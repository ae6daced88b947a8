import itertools
import sys
from pathlib import Path

import pytest

from beyondprop.errors import UserError
from beyondprop.tasks import TASKS, find
from beyondprop.tasks.families import FAMILIES

MODULE = """
from torch import nn
from beyondprop.tasks import Task
import {neighbour}

TASK = Task("mine", "my own", load=None.__class__, model=nn.Identity, epochs={neighbour}.EPOCHS)

def make():
    return TASK

def needs(argument):
    return TASK

def fails():
    raise RuntimeError("the disk\\nis gone")

def other():
    return 3
"""


NUMBER = itertools.count()  # an imported module stays imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a fresh module in the current directory, which imports its neighbour."""
    name = f"mine_{next(NUMBER)}"
    neighbour = f"{name}_epochs"
    (tmp_path / f"{name}.py").write_text(MODULE.format(neighbour=neighbour))
    (tmp_path / f"{neighbour}.py").write_text("EPOCHS = 3\n")
    monkeypatch.chdir(tmp_path)
    return name


def test_tasks_are_found_by_their_names() -> None:
    assert list(TASKS) == [
        "fashion-small",
        "fashion-small-vit",
        "digits-mlp",
        "digits-conv",
        "mnist-mlp",
        "fashion-mlp",
        "cifar-conv",
        "cifar-resnet20",
        "cifar-vgg8",
        "cifar-vgg8-narrow",
        "cifar-vit",
        "digits-goodness",
        "mnist-goodness",
        "cifar-goodness",
        "digits-slots",
        "mnist-slots",
        "adult-slots",
        "digits-softhebb",
        "mnist-softhebb",
        "cifar-softhebb",
        "digits-optical-features",
        "digits-optical-completion",
        "digits-optical-defence",
        "mnist-optical-features",
        "mnist-optical-defence",
        "movielens-fm",
        "movielens-deepfm",
        "movielens-dcn",
        "movielens-autoint",
        "movielens-afn",
        "cora-gcn",
        "cora-cheb",
        "cora-gat",
        "cora-sage",
        "cora-spline",
        "shakespeare-pre-macro",
        "shakespeare-pre-micro",
        "shakespeare-post-macro",
        "shakespeare-post-micro",
        "views-scene",
        "mfeat",
        "mfeat-few",
        "mfeat-corrupted",
        "spoken-digits",
        "clothing-reviews",
        "generated-ambiguous",
        "adult-mlp",
        *FAMILIES,
    ]
    made = {"adult-mlp", *FAMILIES}  # by a function
    tasks = {name: task for name, task in TASKS.items() if name not in made}
    assert all(find(name) is task and task.name == name for name, task in tasks.items())


def test_every_task_has_a_line_of_summary() -> None:
    assert all(task.summary and "\n" not in task.summary for task in TASKS.values())


@pytest.mark.parametrize(
    ("name", "hint"),
    [("digit-mlp", "did you mean 'digits-mlp'?"), ("xyz", "unknown task 'xyz'; there are")],
)
def test_unknown_name_lists_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        find(name)
    assert hint in str(raised.value)
    assert "digits-mlp, digits-conv, mnist-mlp, fashion-mlp" in str(raised.value)


def test_what_was_meant_is_said_before_the_list() -> None:
    with pytest.raises(UserError, match=r"'digit-mlp'; did you mean 'digits-mlp'\? There are \w"):
        find("digit-mlp")


def test_a_csv_file_is_told_as_a_task() -> None:
    with pytest.raises(UserError) as raised:
        find("her.csv")
    told = "a CSV file is a task as {task: from_csv, path: her.csv, target: COLUMN}"
    assert str(raised.value) == f"unknown task 'her.csv'; {told}"


@pytest.mark.parametrize("attribute", ["TASK", "make"])
def test_own_task_by_dotted_name(module: str, attribute: str) -> None:
    task = find(f"{module}:{attribute}")
    assert task is sys.modules[module].TASK
    assert task.epochs == 3


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("TASKS", "has no 'TASKS'; did you mean 'TASK'?"),
        ("zzzzzz", "has no 'zzzzzz'$"),
        ("needs", r"task '\w+:needs' needs argument; it takes argument$"),
        (
            "fails",
            r"task '\w+:fails' failed: RuntimeError: the disk is gone \(\w+.py, line 15\)$",
        ),
        ("other", "is of type int, not a Task"),
        ("nn", "is of type module, not a Task"),
        ("a.b", "write it as my.module:attribute"),
        ("", "write it as my.module:attribute"),
    ],
)
def test_wrong_attribute(module: str, attribute: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(f"{module}:{attribute}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_anywhere:task", "there is no module 'no_such_module_anywhere'"),
        ("json.no_such_part:task", "there is no module 'json.no_such_part'"),
        ("folder/mine.py:task", "with dots and without .py, like my.module:task"),
        ("mine.py:task", "'mine.py' is not the name of a module; write it with dots"),
        (":task", "is not the name of a module"),
        (".mine:task", "is not the name of a module"),
    ],
)
def test_wrong_module(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(name)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import no_such_library",
            "failed: ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("x = (", "failed: SyntaxError"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_module_that_cannot_be_imported(module: str, code: str, message: str) -> None:
    Path(f"{module}_broken.py").write_text(code)
    with pytest.raises(UserError, match=message) as raised:
        find(f"{module}_broken:TASK")
    assert "\n" not in str(raised.value)
