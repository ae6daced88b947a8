"""Samples that lack modalities: every score of a comparison is of the same test samples."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modal_task import TWO, part
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.experiment.modal_alone import Alone, judged
from beyondprop.experiment.modal_attempts import Budget, ByMethod
from beyondprop.experiment.modal_everywhere import constant, everywhere
from beyondprop.experiment.modal_measures import LateFusion, measured, with_noise, with_parts
from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.modal_setting import ModalSetting, modal_setting
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.modaling import LATE, SINGLE, modalities_task
from beyondprop.experiment.rates import TRIAL
from beyondprop.tasks import Data, Split

QUIET = Progress(disable=True)
SPEC = ModalitiesSpec(
    task="modal_gaps:GAPS",
    methods=(OURS, "joint"),
    seeds=(0,),
    epochs=1,
    alone_epochs=2,
    rates=(0.03, 0.1),
)


def lacking(whole: Split, lost: int, place: int = 0) -> Split:
    """The first samples have one modality alone; what they lack is no number."""
    seen = torch.ones(len(whole), 2, dtype=torch.bool)
    seen[:lost, place] = False
    inputs = {name: x.clone() for name, x in whole.inputs.items()}
    inputs[("wide", "small")[place]][:lost] = torch.nan
    return Split(inputs | {"present": seen}, whole.targets)


def setting(lost: int = 30, **fields: Any) -> ModalSetting:
    parts = (part(160, 1), part(60, 2), part(90, 3))
    data = Data("two", *(lacking(each, lost) for each in parts), ("a", "b", "c"))
    spec = replace(SPEC, task="modal_task:TWO")
    return replace(modal_setting(spec, 0), data=data, task=replace(TWO, **fields))


def of(own: ModalSetting, name: str) -> nn.Module:
    network = own.network().eval()
    torch.manual_seed(0)
    return nn.Sequential(network.encoders[name], network.fusion.project[name], own.head(6)).eval()


def test_a_single_modality_is_scored_on_all_test_samples() -> None:
    own = setting()
    network = of(own, "wide")
    found = judged(own, "wide", network)
    inputs, targets = own.data.test.batch(slice(0, 90))
    commonest = own.data.train.batch(slice(0, 160))[1].bincount().argmax()
    said = network(inputs["wide"]).argmax(1)
    said[:30] = commonest
    assert found["score"] == pytest.approx((said == targets).double().mean().item())
    right = (said == targets)[30:].double().mean().item()
    assert found["own_score"] == pytest.approx(right)
    assert found["own_samples"] == 60
    assert math.isfinite(found["loss"])
    whole = judged(own, "small", of(own, "small"))
    assert whole["own_score"] == whole["score"]
    assert whole["own_samples"] == 90


def test_a_modality_that_no_test_sample_has_says_the_same_of_all() -> None:
    own = setting()
    data = replace(own.data, test=lacking(part(90, 3), 90))
    found = judged(replace(own, data=data), "wide", of(own, "wide"))
    commonest = own.data.train.batch(slice(0, 160))[1].bincount().argmax()
    assert found["score"] == pytest.approx((part(90, 3).targets == commonest).double().mean())
    assert found["own_score"] is None
    assert found["own_samples"] == 0


@pytest.mark.parametrize(
    ("targets", "outputs", "expected"),
    [
        (torch.tensor([1, 1, 0, 1]), 3, torch.tensor([0.25, 0.75, 0.125]).log()),
        (torch.tensor([[1.0, 2.0], [3.0, 6.0]]), 2, torch.tensor([2.0, 4.0])),
        (torch.tensor([[1.0], [3.0]]), 1, torch.tensor([2.0])),
        (torch.tensor([[True, True], [False, True]]), 2, torch.tensor([0.5, 0.75]).logit()),
    ],
)
def test_the_constant_answer_is_the_best_one(
    targets: Tensor, outputs: int, expected: Tensor
) -> None:
    own = setting(model=lambda: sized(outputs))
    data = Data("two", *(Split(own.data.train.batch(slice(0, len(targets)))[0], targets),) * 3)
    own = replace(own, data=data)
    torch.testing.assert_close(constant(own), expected)


def sized(outputs: int) -> nn.Module:
    network: Any = TWO.model()
    network.head = nn.Linear(network.fusion.features, outputs)
    return network  # type: ignore[no-any-return]


def test_targets_without_a_constant_answer_are_told() -> None:
    own = setting()
    inputs = own.data.train.batch(slice(0, 4))[0]
    data = Data("two", *(Split(inputs, torch.zeros(4, 3, dtype=torch.int64)),) * 3)
    with pytest.raises(UserError, match="two lack modalities, and a single modality's answer"):
        everywhere(replace(own, data=data), "wide", of(own, "wide"))


def test_noise_and_parts_of_a_modality_that_no_sample_has_have_no_score() -> None:
    own = setting()
    own = replace(own, data=replace(own.data, test=lacking(part(90, 3), 90)))
    network = own.network().eval()
    assert dict(with_noise(own, network, ("wide", "small")))["wide"] is None
    parts = dict(with_parts(own, network, ("wide", "small")))
    assert parts["wide"] is None
    assert parts["small"] == own.evaluated(network)["score"]
    alone: Any = {name: of(own, name) for name in ("wide", "small")}
    late = LateFusion(alone, own.data.test.batch(slice(0, 1))[1]).eval()
    assert measured(own, late, alone)["missing"]["wide"] is None


def test_all_is_compared_on_the_same_samples(tmp_path: Path) -> None:
    (seed,) = modalities_task(SPEC, tmp_path / "m", progress=QUIET)["seeds"]
    assert seed["alone"]["wide"]["own_samples"] == 60
    assert seed["alone"]["wide"]["own_score"] != seed["alone"]["wide"]["score"]
    best = max(seed["alone"], key=lambda name: seed["alone"][name]["validation_score"])
    single = seed["methods"][SINGLE]
    assert single["modality"] == best
    assert single["score"] == seed["alone"][best]["score"]
    assert single["score"] * 90 == pytest.approx(round(single["score"] * 90))
    for name in (OURS, "joint", LATE):
        assert math.isfinite(seed["methods"][name]["score"])


def test_what_a_training_took_is_known_where_its_loss_is_no_number(tmp_path: Path) -> None:
    spec = replace(SPEC, task="modal_gaps:UNHEARD", alone_epochs=1, patience=1)
    took = Alone(spec, 0, "wide", tmp_path, {}).attempt(0.03).work(QUIET)
    assert took["failed"].startswith("the validation loss is not a number")
    assert took[TRIAL] == 160 * 2 * (3 * (6 * 8 + 8 * 6 + 6 * 3) - 6 * 8)
    budget = Budget(0.0, 0.0, 1e6)
    own = ByMethod(spec, 0, "joint", tmp_path, {}, budget, {}).attempt(0.03).work(QUIET)
    assert own["failed"].startswith("the validation loss is not a number")
    assert own[TRIAL] == pytest.approx(1e6, rel=0.1)


def test_a_validation_loss_that_is_no_number_fails_where_it_is(tmp_path: Path) -> None:
    spec = replace(SPEC, task="modal_gaps:UNHEARD", rates=(0.03, 0.1))
    why = "wide alone, seed 0: the validation loss is not a number at learning rate 0.03: lower"
    with pytest.raises(UserError, match=why):
        modalities_task(spec, tmp_path / "m", progress=QUIET)
