"""Arguments of wrong kinds: one sentence that says what to give, and nothing is changed."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import UserError, audit, modalities, optics, projections, slots, tasks
from beyondprop.schedules import Immediate


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def converted() -> nn.Sequential:
    model = net()
    slots.convert(model, 4, seed=1)
    return model


def taught(**arguments: Any) -> bp.Attachment:
    return bp.attach(net(), bp.DirectFeedbackAlignment(), **arguments)


def exact(model: Any) -> None:
    with bp.exact_gradients(model):
        pass


NO_MODELS = (None, "x", nn.Linear, 3, 10**5000, [net()], torch.zeros(2))
NO_PATHS = (None, 5, ["a"])
CALLS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "attach": (lambda x: bp.attach(x, bp.DirectFeedbackAlignment()), NO_MODELS),
    "exact": (exact, NO_MODELS),
    "convert": (slots.convert, NO_MODELS),
    "freeze": (slots.freeze, NO_MODELS),
    "bank": (slots.bank, NO_MODELS),
    "rule": (lambda x: bp.attach(net(), x), (None, "no-such-rule", bp.Frozen, 3, [bp.Frozen()])),
    "blocks": (
        lambda x: taught(blocks=x),
        (3, "0", b"0", True, nn.Linear, {"0": 1}, net(), [], [3], [None], [b"0"], [["0", 3]]),
    ),
    "output": (lambda x: taught(output=x), (3, [], b"2", nn.Linear)),
    "axes": (lambda x: taught(axes=x), (3, b"x", nn.Linear, {1: "batch"}, {"0": 3})),
    "follow": (lambda x: taught().follow(x), ("x", 3, Immediate, net())),
    "Immediate": (Immediate, (None, "x", 3, torch.optim.SGD, [None], net())),
    "slots": (lambda x: slots.convert(net(), x), (None, "8", 3.5, [8], slots.Reels)),
    "selection": (lambda x: slots.convert(net(), 4, x), ("x", 3, slots.Greedy)),
    "exclude": (
        lambda x: slots.convert(net(), exclude=x),
        (None, 3, b"0", {"0": 1}, [3], [None], [["0"]]),
    ),
    "seed": (lambda x: slots.convert(net(), seed=x), ("1", 1.5, True, -1)),
    "biases": (lambda x: slots.convert(net(), biases=x), (None, "no", 1)),
    "drive": (lambda x: slots.drive(x, converted()), (None, "sgd", torch.optim.SGD)),
    "keep": (
        lambda x: slots.bank(converted()).keep(x),
        (None, 5, b"a", ["a"], "\ud800", "x" * 300),
    ),
    "use": (lambda x: slots.bank(converted()).use(x), (None, 5, ["a"], "a")),
    "infer": (lambda x: slots.bank(converted()).infer(x), (None, 5, "abc", [1])),
    "pack": (lambda x: slots.pack(converted(), x), NO_PATHS),
    "load": (lambda x: slots.load(x, net()), NO_PATHS),
    "save": (lambda x: kept().save(x), NO_PATHS),
    "network": (
        lambda x: modalities.MultimodalNetwork(x, modalities.Concatenation({"a": 2}, 2), net()),
        (None, 3, "a", {"a": 3}, {"a": nn.Linear}),
    ),
    "fusion": (
        lambda x: modalities.MultimodalNetwork({"a": net()}, x, net()),
        (None, "concatenation", modalities.Concatenation, net()),
    ),
    "widths": (lambda x: modalities.Concatenation(x, 2), (None, 3, "a", {"a": "2"}, {"a": 1.5})),
    "width": (lambda x: modalities.Concatenation({"a": 2}, x), (None, "2", 1.5)),
    "load_bank": (lambda x: slots.load_bank(x, converted()), NO_PATHS),
}


def kept() -> slots.Bank:
    bank = slots.bank(converted())
    bank.keep("a")
    return bank


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_a_wrong_kind_is_told_in_one_sentence(name: str) -> None:
    call, wrong = CALLS[name]
    for each in wrong:
        with pytest.raises(UserError) as raised:
            call(each)
        assert len(str(raised.value)) < 400, each


def test_one_name_to_exclude_may_be_a_text() -> None:
    """It is a name, not a list of letters."""
    model = net()
    slots.convert(model, 4, exclude="0")
    assert model[0].bias is not None
    assert model[2].bias is None


WRONG = (
    *(None, "x", b"x", True, -1, 0, 1.5, float("nan"), float("inf"), 2**70, 1j, int, object()),
    *([], [1], ["x"], {}, {"a": 1}, (1, 2, 3), torch.zeros(2), lambda *a: a),
)
SETTINGS = (optics, projections, slots, audit, modalities, tasks)


def kinds(package: ModuleType) -> Iterator[type]:
    """The dataclasses of a package that need no arguments."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for kind in vars(importlib.import_module(found.name)).values():
            mine = isinstance(kind, type) and kind.__module__ == found.name
            if not mine or not dataclasses.is_dataclass(kind) or inspect.isabstract(kind):
                continue
            if all(map(optional, dataclasses.fields(kind))):
                yield kind


def optional(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


@pytest.mark.parametrize("package", SETTINGS, ids=lambda package: package.__name__)
def test_settings_of_wrong_kinds_are_told_in_one_sentence(package: ModuleType) -> None:
    for kind in kinds(package):
        for field in dataclasses.fields(kind):
            for wrong in WRONG if field.init else ():
                try:
                    kind(**{field.name: wrong})
                except UserError as error:
                    assert "\n" not in str(error)  # noqa: PT017  it may also be right


def test_a_bank_with_two_files_of_one_task_is_refused(tmp_path: Any) -> None:
    kept().save(tmp_path)
    (tmp_path / "task-%61.safetensors").write_bytes((tmp_path / "task-a.safetensors").read_bytes())
    with pytest.raises(UserError, match="a second file of the task 'a': remove one of them"):
        slots.load_bank(tmp_path, converted())
