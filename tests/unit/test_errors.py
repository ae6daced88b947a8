"""Exceptions of a user's own code in one line, with the place where they were raised."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from beyondprop.errors import one_line, place

CODE = """
import json
import torch

def key():
    return {}["meen"]

def silent():
    assert False

def shapes():
    return torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 5))

def library():
    return json.loads("{")

def leaves():
    raise SystemExit(3)

def nested():
    return key()

class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no gradient")

def backward():
    Fails.apply(torch.ones(2, requires_grad=True)).sum().backward()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "my_rule.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rule", raising=False)
    return importlib.import_module("my_rule")


def caught(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:
        # As the library catches it: its own frames, here those of the test, are not the user's.
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("key", "KeyError: 'meen' (my_rule.py, line 6)"),
        ("silent", "AssertionError (my_rule.py, line 9)"),
        ("nested", "KeyError: 'meen' (my_rule.py, line 6)"),
        ("leaves", "it ends the program with sys.exit(3) (my_rule.py, line 18)"),
        ("backward", "ValueError: no gradient (my_rule.py, line 30)"),
    ],
)
def test_an_error_has_its_name_and_its_place(own: ModuleType, name: str, said: str) -> None:
    assert one_line(caught(getattr(own, name))) == said


@pytest.mark.parametrize(("name", "line"), [("shapes", 12), ("library", 15)])
def test_the_place_is_the_users_call_of_a_library(own: ModuleType, name: str, line: int) -> None:
    assert place(caught(getattr(own, name))) == f"my_rule.py, line {line}"


def test_an_error_outside_the_users_code_has_no_place() -> None:
    assert one_line(caught(lambda: json.loads("{"))).startswith("JSONDecodeError: Expecting")
    work = torch.nn.Linear(3, 3)
    assert place(caught(lambda: work(torch.ones(2, 2)))).startswith("test_errors.py, line ")
    assert one_line(ValueError("never\nraised")) == "ValueError: never raised"


def test_an_error_of_syntax_has_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unclosed.py").write_text("x = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = caught(lambda: importlib.import_module("unclosed"))
    assert one_line(error) == "SyntaxError: '(' was never closed (unclosed.py, line 1)"


def test_a_long_text_keeps_its_place(own: ModuleType) -> None:
    assert one_line(caught(own.key), 8) == "KeyError (my_rule.py, line 6)"
