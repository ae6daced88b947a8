"""Drawn modalities: what is known of them holds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Data, Split, find, generated, informative
from beyondprop.tasks.multimodal import GENERATED_AMBIGUOUS

SMALL = {"samples": (600, 20, 2000)}


def part(data: Data, name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    samples = data.parts[name]
    assert isinstance(samples, Split)
    said = informative(samples)
    assert said is not None
    return samples.inputs, samples.targets, said


def test_of_ambiguous_samples_one_modality_alone_decides() -> None:
    data = generated(ambiguous=0.25, **SMALL).load(None)
    x, y, said = part(data, "test")
    assert [len(each) for each in data.parts.values()] == [600, 20, 2000]
    ambiguous = said.sum(1) == 1
    assert (said.sum(1) >= 1).all()
    assert ambiguous.float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert said[ambiguous].float().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    for place, (name, rate) in enumerate({"fast": 1.0, "slow": 0.01}.items()):
        view, clear = x[name] / rate**0.5, said[:, place]
        means = torch.stack([view[clear & (y == c)].mean(0) for c in range(4)])  # (classes, width)
        torch.testing.assert_close(means @ means.T, 16 * torch.eye(4), atol=1.5, rtol=0)
        found = (view @ means.T).argmax(1) == y
        assert found[clear].float().mean() > 0.97
        assert found[~clear].float().mean().item() == pytest.approx(0.25, abs=0.12)
        assert view[~clear].std().item() == pytest.approx(5, abs=0.3)


def steps_of_descent(x: Tensor, y: Tensor, rate: float, steps: int) -> Tensor:
    """Return what a linear readout says after steps of gradient descent on half squared errors."""
    weight = torch.zeros(x.shape[1], int(y.max()) + 1, dtype=x.dtype)
    for _ in range(steps):
        weight -= rate * x.T @ (x @ weight - one_hot(y).to(x.dtype)) / len(x)
    return x @ weight


def test_a_modality_is_learned_at_its_rate() -> None:
    task = generated(rates={"whole": 1.0, "fifth": 0.2}, ambiguous=0.0, **SMALL)
    x, y, _ = part(task.load(None), "train")
    x = {name: each.double() for name, each in x.items()}
    said = {name: steps_of_descent(each, y, 0.01, 40) for name, each in x.items()}
    # One at a fifth of the rate is where the same one at full rate is with a fifth of the step.
    again = steps_of_descent(x["fifth"] / 0.2**0.5, y, 0.002, 40)
    torch.testing.assert_close(said["fifth"], again)
    errors = {name: float((each - one_hot(y)).square().mean()) for name, each in said.items()}
    assert errors["whole"] < 0.6 * errors["fifth"]
    late = float((steps_of_descent(x["fifth"], y, 0.01, 200) - one_hot(y)).square().mean())
    assert late == pytest.approx(errors["whole"], rel=0.25)  # five times the steps


def test_the_same_seed_draws_the_same() -> None:
    one, again, other = (generated(seed=seed, **SMALL).load(None) for seed in (0, 0, 1))
    assert torch.equal(part(one, "test")[0]["fast"], part(again, "test")[0]["fast"])
    assert not torch.equal(part(one, "test")[0]["fast"], part(other, "test")[0]["fast"])


def test_three_modalities_by_a_spec() -> None:
    spec = {
        "task": "beyondprop.tasks:generated",
        "rates": {"a": 1.0, "b": 0.5, "c": 0.1},
        "ambiguous": 1.0,
        "samples": [30, 10, 10],
        "name": "three",
    }
    task = find(spec)
    x, _, said = part(task.load(None), "train")
    assert (task.name, list(x)) == ("three", ["a", "b", "c"])
    assert torch.equal(said.sum(1), torch.ones(30).long())
    assert task.model()(**x).shape == (30, 4)


@pytest.mark.parametrize("rule", ["backprop", "dfa", "frozen"])
def test_rules_learn_it(rule: str, tmp_path: Path) -> None:
    task = generated(**SMALL, epochs=3)
    record = train(RunSpec(rule=rule, measures=()), tmp_path / "run", task=task)
    assert record["status"] == "finished"
    assert record["test"]["score"] > (0.5 if rule == "backprop" else 0.2)


def test_the_linear_control_sees_all_modalities() -> None:
    assert GENERATED_AMBIGUOUS.features is not None
    x = {"fast": torch.ones(3, 2), "slow": torch.zeros(3, 4)}
    assert GENERATED_AMBIGUOUS.features(x).tolist() == [[1, 1, 0, 0, 0, 0]] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rates": {"one": 1.0}}, "two modalities or more"),
        ({"rates": {"one": 1.0, "two": 0.0}}, "rates above 0"),
        ({"ambiguous": 1.5}, "0 to 1, not 1.5"),
        ({"classes": 17}, "2 to 16 of them fit into 16 features, not 17"),
        ({"samples": (0, 1, 1)}, "must be above 0"),
        ({"epoch": 3}, "a task has no epoch"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generated(**given)


def test_no_folder_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave out data="):
        GENERATED_AMBIGUOUS.load(tmp_path)
