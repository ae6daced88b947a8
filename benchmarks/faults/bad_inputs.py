"""Invalid inputs: command lines, YAML files and arguments in Python.

Each must cause an error of one sentence, and a command must exit with code 2.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import beyondprop as bp
from benchmarks.faults.tally import Tally, never
from beyondprop import modalities, optics, projections, slots, tasks
from beyondprop.cli import app
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, train
from beyondprop.schedules import Immediate

Words = tuple[str, ...]

LONG, DEEP = "9" * 5000, "{a: " * 3000 + "1" + "}" * 3000
WHOLE: Words = ("-1", "1.5", "x", "1:30", "[1]", "9" * 400)
NUMBER: Words = ("-1", "x", "nan", "1:30", LONG)
NAMES: Words = ("nothing", "no.module:x", "os:sep", "sys:exit", "{a: {b: 1}}", DEEP)
LISTS: Words = ("x", "-1", "[[1]]", "{a: 1}", "1.5.2")

TRAIN: dict[str, Words] = {
    "--epochs": WHOLE,
    "--batch-size": WHOLE,
    "--learning-rate": NUMBER,
    "--seed": WHOLE[1:],
    "--feedback-seed": WHOLE[1:],
    "--threads": (*WHOLE, "99999999"),
    "--rule": NAMES,
    "--task": NAMES,
    "--optimizer": NAMES,
    "--schedule": ("nothing", "1", "[joint]"),
    "--blocks": ("nothing", "[3]", "{a: 1}", "*.x"),
    "--measures": ("nothing", "[1]", "[[probe]]"),
    "--device": ("cuda:99", "x", "meta", "cpu:-1"),
    "--data": ("a\0b",),
    "--adversarial": ("1", "{epsilon: -1}", "{epsilon: x}", "{steps: 3}", "{epsilon: 0.1, a: 1}"),
    "--config": ("/nothing/there.yaml", "/dev/null/x", "."),
    "--output": ("/dev/null/x", "a\0b"),
    "--nothing": ("1",),
}
COMPARE: dict[str, Words] = {
    "--rules": ("nothing", "[1]", "dfa,dfa", "{dfa: {rate: x}}"),
    "--seeds": (*LISTS, "0,0"),
    "--learning-rates": LISTS,
    "--tuning-epochs": ("-1", "1.5", "x"),
    "--tuning-budget": ("-1", "x", "nan"),
    "--jobs": ("0", "-1", "x", "1.5"),
    "--worker-memory": ("-1", "inf", "x"),
    "--cluster": ("x", "http://here", "ray://"),
    "--tasks": ("nothing", "digits-mlp,digits-mlp"),
    "--measure-cost": ("x", "2"),
}
OTHERS: tuple[Words, ...] = (
    ("nothing",),
    ("--nothing",),
    ("train", "more", "words"),
    ("train", "--resume=false"),
    ("scale", "--widths", "x"),
    ("scale", "--widths", "-1"),
    ("scale", "--depths", "0"),
    ("scale", "--samples", "1.5"),
    ("scale", "--task", "nothing"),
    ("scale", "--task", "os:sep"),
    *(("distil", "--task", "digits-mlp", "--candidates", each) for each in NAMES[:4]),
    *(("distil", "--task", "digits-mlp", "--budgets", each) for each in ("x", "-1", "nan", "[]")),
    *(("distil", "--task", "digits-mlp", "--limit", each) for each in ("x", "1")),
    *(("distil", "--task", "digits-mlp", "--ranked", each) for each in ("0", "x")),
    *(("distil", "--task", "digits-mlp", "--cache-gib", each) for each in ("-1", "nan", "x")),
    *(("distil", "--task", "digits-mlp", "--samples", each) for each in ("-1", "x", "1 2")),
    *(("modalities", "--methods", each) for each in ("x", "1")),
    *(("modalities", "--fusion", each) for each in NAMES[:4]),
    *(("modalities", "--dropout", each) for each in ("-1", "1.5", "x")),
    *(("modalities", "--patience", each) for each in ("-1", "x", "1.5")),
    ("modalities", "--task", "digits-mlp"),
    ("audit",),
    ("audit", "/nothing/there"),
    ("audit", "."),
    ("audit", ".", "--sections", "nothing"),
    ("audit", ".", "--sections", "minima(samples=-1)"),
    *(("tune", "--task", "digits-mlp", "--trials", each) for each in ("0", "-1", "x", "1.5")),
    ("report",),
    ("report", "/nothing/there"),
    ("report", "."),
    ("report", "a\0b"),
    ("list", "nothing"),
    ("list", "os:sep"),
    ("list", "no.module:x"),
    *(("check", each) for each in NAMES),
    ("check", "digits-mlp", "--rule", "nothing"),
    ("check", "torch.nn:Flatten", "--input", "0"),
    ("check", "torch.nn:Flatten", "--input", "x"),
    ("check", "torch.nn:Linear", "--input", "8 3"),
    ("check", "digits-mlp", "--blocks", "nothing"),
    ("check", "digits-mlp", "--batch-size", "0"),
    *(("project", "--inputs", each, "--outputs", "10") for each in ("-1", "x", "nan", "inf")),
    ("project", "--inputs", "10"),
    ("project", "--inputs", "10", "--outputs", "10", "--kind", "nothing"),
    ("project", "--inputs", "10", "--outputs", "10", "--memory", "-1"),
    ("project", "--inputs", "10", "--outputs", "10", "--device", "x"),
)


def commands() -> Iterator[Words]:
    """Yield the words of each bad command line."""
    for flag, values in TRAIN.items():
        for value in values:
            yield ("train", "--task", "digits-mlp", flag, value)
    for flag, values in COMPARE.items():
        for value in values:
            yield ("compare", "--task", "digits-mlp", flag, value)
    yield from OTHERS


FILES: tuple[bytes, ...] = (
    b"rule: caf\xe9",
    "rule: dfa".encode("utf-16"),
    bytes(range(256)),
    b"\0",
    b"- 1",
    b"rule",
    b"rule: [",
    b"rule: }",
    b"rule: 'dfa",
    b"\trule: dfa",
    b"rule: dfa\nrule: [fa",
    b"seed: " + b"9" * 5000,
    b"seed: " + b"9" * 400,
    b"seed: 0x" + b"f" * 400,
    b"seed: 1e400",
    b"seed: .nan",
    b"seed: null",
    b"seed: [0]",
    b"seed: {a: 1}",
    b"seed: 2020-01-01",
    b"epochs: 1.5",
    b"epochs: 1:30",
    b"epochs: '1:30'",
    b"epochs: true",
    b"epochs: -3",
    b"learning_rate: -1",
    b"learning_rate: .inf",
    b"learning_rate: fast",
    b"batch_size: 0",
    b"threads: 0",
    b"threads: many",
    b"resume: 'false'",
    b"resume: 1",
    b'output: "a\\0b"',
    b"output: [a]",
    b"data: {a: b}",
    b"blocks: 3",
    b"blocks: {a: b}",
    b"measures: {a: 1}",
    b"measures: nothing",
    b"device: 3",
    b"nothing: 1",
    b"rule: " + b"[" * 100_000,
    b"rule: " + b"{a: " * 40 + b"1" + b"}" * 40,
    b"rule: " + b"- " * 10_000 + b"1",
    b"rule: !!python/object:os.system {}",
    b"rule: !!python/object/apply:os.system [true]",
    b"rule: &a [*a]",
    b"a: &a [x, x]\nb: &b [*a, *a]\nrule: [*b, *b]",
    b"<<: {rule: dfa}\n<<: 3",
    b"? [a]\n: b",
    b"rule: {dfa: {rate: [1, 2]}}",
    b"rule: {nothing: {}}",
    b"adversarial: {epsilon: x}",
    b"adversarial: 3",
)
"""Configurations for `train --config`."""


def net() -> nn.Sequential:
    """Return a network for wrong arguments."""
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def converted() -> nn.Sequential:
    """Return the same network with chosen weights."""
    model = net()
    slots.convert(model, 4, seed=1)
    return model


def taught(**arguments: Any) -> bp.Attachment:
    """Return the same network with a rule attached with these arguments."""
    return bp.attach(net(), bp.DirectFeedbackAlignment(), **arguments)


def exact(model: Any) -> None:
    """Enter the context of exact gradients of a model."""
    with bp.exact_gradients(model):
        pass


def own(**parts: Any) -> Any:
    """Train a task with user-defined parts, in a temporary folder."""
    from dataclasses import replace

    from benchmarks.faults.tasks import CLOUDS

    with TemporaryDirectory() as folder:
        task = replace(CLOUDS, **parts)
        return train(RunSpec(epochs=1, measures=()), Path(folder, "run"), task=task)


def nothing(*_: Any) -> None:
    """Return None in place of a model, data or a loss."""


def failing(*_: Any) -> None:
    """Fail like a user's code."""
    raise KeyError("a fault")


def leaving(*_: Any) -> None:
    """Exit the process with success."""
    raise SystemExit(0)


MODELS = (None, "x", nn.Linear, 3)
CALLS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "attach": (lambda x: bp.attach(x, bp.DirectFeedbackAlignment()), MODELS),
    "exact_gradients": (exact, MODELS),
    "convert": (slots.convert, MODELS),
    "freeze": (slots.freeze, MODELS),
    "bank": (slots.bank, MODELS),
    "rule": (lambda x: bp.attach(net(), x), (None, "dfaa", bp.Frozen, 3)),
    "blocks": (lambda x: taught(blocks=x), (3, b"0", True, {"0": 1}, [], [3], [["0", 3]], "9")),
    "output": (lambda x: taught(output=x), (3, [], b"2")),
    "axes": (lambda x: taught(axes=x), (3, {1: "batch"}, {"0": 3}, "batch batch")),
    "targets": (lambda x: taught().targets(x), (object(), "abc", [[1], [1, 2]])),
    "follow": (lambda x: taught().follow(x), ("x", 3, Immediate)),
    "Immediate": (Immediate, (None, "x", torch.optim.SGD, [None])),
    "slots": (lambda x: slots.convert(net(), x), (None, "8", 3.5, -1)),
    "exclude": (lambda x: slots.convert(net(), exclude=x), (3, b"0", [3])),
    "seed": (lambda x: slots.convert(net(), seed=x), ("1", 1.5, -1)),
    "keep": (lambda x: slots.bank(converted()).keep(x), (None, 5, "x" * 300)),
    "use": (lambda x: slots.bank(converted()).use(x), (None, "a")),
    "pack": (lambda x: slots.pack(converted(), x), (None, 5)),
    "load": (lambda x: slots.load(x, net()), (None, "/nothing/there", "/dev/null")),
    "load_bank": (lambda x: slots.load_bank(x, converted()), (None, "/nothing/there")),
    "RunSpec": (lambda x: RunSpec(**x), ({"epochs": 1.5}, {"seed": "0"}, {"rule": 3})),
    "CompareSpec": (lambda x: CompareSpec(**x), ({"seeds": 3}, {"rules": "dfa"})),
    "train": (lambda x: train(x, Path("nothing")), (None, "dfa", RunSpec, {"epochs": 1.5})),
    "task": (tasks.find, (None, 3, "nothing", "os:sep")),
    "Camera": (lambda x: optics.Camera(bits=x), ("x", 1.5, -1)),
    "Dense": (lambda x: projections.Dense(**{"seed": x}), ("x", 1.5, None)),
    "network": (lambda x: modalities.MultimodalNetwork(x, x, x), (None, 3, {})),
    "a task's model": (lambda x: own(model=x), (nothing, failing, leaving)),
    "a task's data": (lambda x: own(load=x), (nothing, failing, leaving)),
    "a task's loss": (lambda x: own(loss=x), (nothing, failing, leaving)),
}


@dataclass(frozen=True)
class Bad:
    """An invalid input.

    Attributes:
        name: Its name.
        act: A function that gives it to the library.
    """

    name: str
    act: Callable[[], Any]


def table() -> Iterator[Bad]:
    """Yield every invalid input."""
    for words in commands():
        yield Bad(" ".join(words)[:120], partial(run, words))
    for content in FILES:
        yield Bad(repr(content[:60]), partial(run_file, content))
    for name, (call, values) in CALLS.items():
        for value in values:
            yield Bad(f"{name} {value!r}"[:120], partial(call, value))


def attack(tally: Tally) -> None:
    """Give every invalid input to the library, in an empty folder that must stay empty."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for each in table():
                tally.attempt(each.name, each.act, never)
                left = list(Path(folder).iterdir())
                if left:
                    tally.faults.append(f"{each.name}: it has left {[file.name for file in left]}")
                for file in left:
                    shutil.rmtree(file)
        finally:
            os.chdir(before)


def run(words: Words) -> int:
    """Run a command here; return 0 if it succeeds.

    Raises:
        UserError: It was refused, with its message.
        AssertionError: It ended without exit code 2 and one sentence.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            code: Any = app.main(words)
        except SystemExit as end:
            code = end.code
    text = said.getvalue()
    if code == 0:
        return 0
    assert code == 2, f"exit code {code}: {text[:300]}"
    assert text.startswith("beyondprop"), text[:300]
    raise UserError(text.strip())


def run_file(content: bytes) -> int:
    """Run `train` with a configuration; see `run`."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "settings.yaml")
        file.write_bytes(content)
        return run(("train", "--task", "digits-mlp", "--config", str(file)))
