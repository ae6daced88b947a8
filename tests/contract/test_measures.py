"""Every measure on every rule: it leaves no trace, repeats, and meets its known answers."""

import json
import random
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

import beyondprop as bp
from beyondprop.measure import (
    MEASURES,
    Figures,
    Measure,
    PeakMemory,
    StepTimeMeasure,
    Subject,
    rule_step,
)
from beyondprop.measure import memory as memory_module
from beyondprop.measure.base import Column, Description
from beyondprop.measure.memory_child import tensor_growth
from beyondprop.tasks import Split, accuracy
from tests.contract.teaching import RULES, attached, rule_of, taken
from tests.modules import CASE, CASES, Case

QUICK: dict[str, Measure] = dict(MEASURES) | {
    "step-time": StepTimeMeasure(rounds=3, warmup=1, seconds=0, fewest=1)
}
del QUICK["views"]  # of networks that render, see test_measure_views
LAYERWISE = ("backprop", "fa", "usf", "brsf", "frsf", "wm", "kp")

every_measure = pytest.mark.parametrize("measure", QUICK.values(), ids=list(QUICK))
every_rule = pytest.mark.parametrize("rule", RULES)


@cache
def case_of(rule: str) -> Case:
    """Return a small network that the rule can teach."""
    return next(case for case in (CASE["mlp"], *CASES) if taken(case, rule))


def subject_of(rule: str) -> Subject:
    """Return a network with everything that a measure could disturb, the rule attached to it."""
    case = case_of(rule)
    model, handle = attached(case, rule)
    (inputs,), _ = case.batch()
    targets = case.classes()
    step = partial(_step, case, rule)
    return Subject(
        handle=handle,
        model=model,
        inputs=inputs,
        targets=targets,
        loss=F.cross_entropy,
        metric=accuracy,
        train=Split(inputs, targets),
        held_out=Split(case.batch(2).inputs[0], targets),
        classes=("a", "b", "c", "d"),
        step=step,
        plain_step=partial(_step, case, None),
    )


def _step(case: Case, rule: str | None) -> Any:
    (inputs,), _ = case.batch()
    made = None if rule is None else rule_of(rule)
    given = (inputs, case.classes(), F.cross_entropy, SGD, 0.01)
    return rule_step(case.fresh, made, *given, None if made is None else case.blocks)


def used(subject: Subject) -> SGD:
    """Take a step, so that there are gradients, learned feedback and momentum to disturb."""
    handle, model = subject.handle, subject.model
    optimizer = SGD([*model.parameters(), *handle.parameters()], 0.01, momentum=0.9)
    with handle.targets(subject.targets):
        loss = F.cross_entropy(model(subject.inputs), subject.targets)
    loss.backward()
    optimizer.step()
    return optimizer


def of_tensor(tensor: Tensor) -> list[Any]:
    """Return everything about a tensor that can change."""
    gradient = getattr(tensor, "grad", None)
    found = [id(tensor), tensor.data_ptr(), tensor._version, tensor.tolist(), tensor.requires_grad]
    return [*found, None if gradient is None else gradient.tolist()]


def traces(model: nn.Module, handle: bp.Attachment, optimizer: SGD) -> list[Any]:
    """Return everything that a measure must leave alone."""
    named = [*model.named_parameters(), *model.named_buffers()]
    found: list[Any] = [(n, m.training, type(m), sorted(vars(m))) for n, m in model.named_modules()]
    found += [[name, *of_tensor(tensor)] for name, tensor in named]
    found += [of_tensor(parameter) for parameter in handle.parameters()]
    found += [(name, tensor.tolist()) for name, tensor in handle.state_dict().items()]
    found += [[len(m._forward_hooks), len(m._forward_pre_hooks)] for m in model.modules()]
    found += [bp.attachment_of(model) is handle, handle.schedule, str(optimizer.state_dict())]
    numpy = np.random.get_state()  # noqa: NPY002
    return [*found, torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2]]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have memory measured here: `test_measure_memory` sees to the fresh process."""

    def counted(build: Any, steps: int = 2, device: Any = "cpu") -> PeakMemory:  # noqa: ARG001
        state = torch.get_rng_state()
        try:
            return PeakMemory(tensor_growth(build(), steps), None, "")
        finally:
            torch.set_rng_state(state)

    monkeypatch.setattr(memory_module, "peak_memory", counted)


@every_measure
@every_rule
def test_a_measure_leaves_no_trace_and_repeats_itself(measure: Measure, rule: str) -> None:
    subject = subject_of(rule)
    optimizer = used(subject)
    before = traces(subject.model, subject.handle, optimizer)
    found = measure.run(subject)
    assert traces(subject.model, subject.handle, optimizer) == before
    assert not list(measure.contradictions(subject, found))
    assert Figures.read(json.loads(json.dumps(found.json()))).json() == found.json()
    if measure.traits.repeats:
        torch.manual_seed(99)
        assert measure.run(subject) == found


def immediate(rule: str) -> bool:
    """Return whether blocks can learn as soon as they have run."""
    subject = subject_of(rule)
    try:
        subject.handle.follow(bp.Immediate(SGD(subject.model.parameters(), 0.01)))
    except bp.UserError:
        return False
    return True


@every_measure
@pytest.mark.parametrize("rule", [name for name in RULES if immediate(name)])
def test_a_measure_takes_no_step_of_a_schedule(measure: Measure, rule: str) -> None:
    subject = subject_of(rule)
    optimizer = used(subject)
    subject.handle.follow(bp.Immediate(optimizer))
    before = traces(subject.model, subject.handle, optimizer)
    measure.run(subject)
    assert traces(subject.model, subject.handle, optimizer) == before


def test_a_training_step_would_leave_traces() -> None:
    """That the tests above can fail."""
    subject = subject_of("dfa")
    optimizer = used(subject)
    before = traces(subject.model, subject.handle, optimizer)
    optimizer.step()
    assert traces(subject.model, subject.handle, optimizer) != before


@every_measure
def test_a_measure_says_what_it_is_and_what_it_lacks(measure: Measure) -> None:
    first = (type(measure).__doc__ or "").splitlines()[0]
    assert first.endswith(".")
    assert len(first) < 100
    assert measure.lacking(Subject()) == sorted(measure.traits.needs)
    with pytest.raises(bp.UserError, match="needs a subject with"):
        measure.run(Subject())
    described = measure.description()
    assert Description.read(json.loads(json.dumps(described.json()))) == described
    assert len(described.about) > 60


@every_measure
def test_every_figure_that_is_shown_is_found(measure: Measure) -> None:
    found = measure.run(subject_of("dfa"))
    beside = [inner for column in measure.columns for inner in column.beside]
    assert {column.key for column in (*measure.columns, *beside)} <= set(found.values)
    assert {column.key for column in measure.block_columns} <= set(found.blocks)


@every_rule
def test_alignment_is_one_under_backprop_and_void_under_frozen(rule: str) -> None:
    found = MEASURES["alignment"].run(subject_of(rule))
    *hidden, last = found.blocks["cosine"].values()
    norms = found.blocks["gradient_norm"].values()
    if rule == "backprop":
        assert [*hidden, last] == pytest.approx([1.0] * (len(hidden) + 1))
        assert found.values["alignment"] == pytest.approx(1.0)
        assert min(norms) > 0
        assert not found.notes
    if rule == "frozen":
        assert set(hidden) == {None}
        assert last == pytest.approx(1.0)
        assert found.values["alignment"] is None
        assert all(note.startswith("not taught: ") for note in found.notes.values())
        assert len(found.notes) == len(hidden)


@every_rule
def test_blocks_whose_graph_ends_are_isolated(rule: str) -> None:
    found = MEASURES["isolation"].run(subject_of(rule))
    words = [note.partition(":")[0] for note in found.notes.values()]
    if rule == "frozen":
        assert found.values["isolated"] is None
        assert words[:-1] == ["not taught"] * (len(words) - 1)
    elif "sent_back" in rule_of(rule).traits.needs:
        assert found.values["isolated"] is False
    elif rule_of(rule).traits.ends_graph:
        assert found.values["isolated"] is True
        assert words[:-1] == ["isolated"] * (len(words) - 1)
        assert "this is not backpropagation" in found.words
    elif rule in LAYERWISE:
        assert found.values["isolated"] is False
        assert words[:-1] == ["dependent"] * (len(words) - 1)
        assert "at least one update depends on later blocks" in found.words
    assert words[-1] == "last"


@every_rule
def test_what_tells_of_weights_alone_is_the_same_whatever_is_attached(rule: str) -> None:
    subject = subject_of(rule)
    found = {name: QUICK[name].run(subject) for name in ("accuracy", "probe")}
    subject.handle.remove()
    plain = bp.attach(subject.model, bp.Backprop(), case_of(rule).blocks)
    bare = replace(subject, handle=plain)
    assert QUICK["accuracy"].run(bare).values == pytest.approx(found["accuracy"].values)
    ours, theirs = found["probe"].blocks["accuracy"], QUICK["probe"].run(bare).blocks["accuracy"]
    assert ours["input"] == theirs["input"]
    assert all(ours[name] == theirs[name] for name in set(ours) & set(theirs))


@pytest.mark.parametrize(
    ("name", "rule", "part", "value"),
    [
        ("alignment", "backprop", "blocks", {"cosine": {"0": 0.9, "2": 1.0, "4": 1.0}}),
        ("alignment", "frozen", "blocks", {"cosine": {"0": 0.9, "2": None, "4": 1.0}}),
        ("alignment", "dfa", "blocks", {"cosine": {"0": 1.9, "2": 0.0, "4": 1.0}}),
        ("isolation", "backprop", "values", {"isolated": True}),
        ("isolation", "dfa", "values", {"isolated": False}),
        ("isolation", "frozen", "values", {"isolated": True}),
        ("probe", "dfa", "blocks", {"accuracy": {"input": 0.31}}),
        ("probe", "dfa", "blocks", {"accuracy": {"0": 0.5}}),
        ("accuracy", "dfa", "details", {"confusion": [[5, 5], [5, 5]]}),
        ("step-time", "dfa", "values", {"step_ratio": 2.0, "step_quartiles": [0.5, 1.0]}),
        ("memory", "dfa", "values", {"memory_bytes": 0}),
    ],
)
def test_a_wrong_answer_is_found_out(name: str, rule: str, part: str, value: Any) -> None:
    subject = subject_of(rule)
    wrong = replace(MEASURES[name].run(subject), **{part: value})
    assert list(MEASURES[name].contradictions(subject, wrong))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (True, "yes"), (False, "no"), (0.456, "0.46×"), (3, "3.00×")]
)
def test_a_figure_is_written_as_its_column_says(value: Any, text: str) -> None:
    assert Column("a", "a", unit="×").text(value) == text
