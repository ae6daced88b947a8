"""Models that no section was written for: each is answered, or told in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit import Audited, Section
from beyondprop.audit.calibration import Calibration
from beyondprop.audit.explanations import ConceptTest, Explanations
from beyondprop.audit.fairness import Fairness
from beyondprop.audit.minima import Minima
from beyondprop.audit.robustness import Pgd, Robustness, Square
from beyondprop.errors import UserError
from beyondprop.tasks import Data, Split, Task

for package in ("captum", "shapiq", "sklearn", "scipy", "fairlearn", "pyautoattack"):
    pytest.importorskip(package)

QUIET = Progress(disable=True)
SECTIONS: tuple[Section, ...] = (
    Calibration(resamples=10),
    Explanations(
        samples=4, layered=2, stable=2, combined=2, pictured=1, budget=140, draws=3, moves=2,
        pushed=3, most_steps=64, test=ConceptTest(sets=2, controls=3, size=8),
    ),
    Fairness(draws=100, least=3),
    Minima(
        samples=20, scored=30, probes=2, eigenvalues=2, directions=2, fine=3, coarse=3, steps=2,
    ),
    Robustness(samples=8, epsilons=(0.1,), pgd=Pgd(3), square=Square(5)),
)  # fmt: skip


def people(classes: int = 2) -> Data:
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> Split:
        x = torch.randn(count, 6, generator=generator)
        groups = {"group": torch.arange(count) % 2}
        return Split(x, (x[:, 0] > 0).long() % classes, groups)

    names = tuple("abc"[:classes])
    return Data("people", part(60), part(12), part(20), names, {"group": ("m", "f")})


def log_loss(odds: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(odds.squeeze(1), targets.to(odds))


def audited(network: Callable[[], nn.Module], loss: Callable[[Tensor, Tensor], Tensor]) -> Audited:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return network().eval()

    data = people()
    task = Task(name="odd", summary="odd", load=lambda _: data, model=network, loss=loss)
    return Audited("backprop", task, data, 0, build)


def one_logit() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def two_logits() -> nn.Module:
    """Return what computes the same as `one_logit` by two logits."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = one_logit()

        def forward(self, x: Tensor) -> Tensor:
            odds: Tensor = self.body(x)
            return torch.cat([torch.zeros_like(odds), odds], 1)

    return Two()


def broken() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    return model


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each.name)
def test_weights_that_are_no_numbers_are_told_by_every_section(section: Section) -> None:
    with pytest.raises(UserError, match="finite"):
        section.ask(audited(broken, F.cross_entropy), QUIET)


@pytest.mark.parametrize("section", SECTIONS[:3], ids=lambda each: each.name)
def test_one_logit_is_answered_as_two_are(section: Section) -> None:
    one = section.ask(audited(one_logit, log_loss), QUIET)
    two = section.ask(audited(two_logits, F.cross_entropy), QUIET)
    for each in (one, two):
        json.dumps(each, allow_nan=False)
        each.pop("layers", None)  # their blocks have other names
        each.pop("concepts", None)
    assert one == two


def test_a_protected_attribute_without_two_groups_is_told() -> None:
    alone = audited(two_logits, F.cross_entropy)
    for names in (("m",), ("m", "f")):
        parts = {
            name: Split(*part.batch(slice(0, len(part))), {"group": torch.zeros(len(part)).long()})
            for name, part in alone.data.parts.items()
        }
        data = replace(alone.data, **parts, protected={"group": names})
        found = Fairness(draws=100, least=3).ask(replace(alone, data=data), QUIET)
        assert "no two groups have enough" in found["verdict"]
        json.dumps(found, allow_nan=False)


def test_a_class_that_is_missing_from_the_test_part_is_no_harm() -> None:
    of = audited(two_logits, F.cross_entropy)
    _, targets = of.data.test.batch(slice(0, 20))
    test = of.data.test.some((targets == 1).nonzero().flatten())
    for section in SECTIONS[:3]:
        found = section.ask(replace(of, data=replace(of.data, test=test)), QUIET)
        json.dumps(found, allow_nan=False)
        assert found["verdict"]


@pytest.mark.parametrize("setting", ["samples", "steps", "draws", "grid", "budget", "pushed"])
def test_settings_of_explanations_are_checked(setting: str) -> None:
    with pytest.raises(UserError, match=setting):
        Explanations(**{setting: 0})


def test_blocks_that_move_nothing_are_left_out() -> None:
    def dead() -> nn.Module:
        model = one_logit()
        with torch.no_grad():
            next(model.parameters()).zero_()
        return model

    found = SECTIONS[1].ask(audited(dead, log_loss), QUIET)
    assert found["layers"]["blocks"] == {}
    assert len(found["layers"]["left_out"]) == 2


def test_models_with_other_inputs_are_not_compared() -> None:
    one = audited(two_logits, F.cross_entropy)
    data = one.data.mapped(
        lambda part: Split(torch.zeros(len(part), 5), part.batch(slice(0, 99))[1])
    )
    with pytest.raises(UserError, match="inputs"):
        SECTIONS[1].beside(one, replace(one, data=data))
    single = replace(one, data=replace(one.data, test=one.data.test.some(torch.arange(1))))
    with pytest.raises(UserError, match="two samples"):
        SECTIONS[1].beside(single, single)
