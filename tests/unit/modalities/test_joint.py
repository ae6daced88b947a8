"""The joint phase: what rests rests, and learning rates are each modality's own."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import DataLoader

from beyondprop.errors import UserError
from beyondprop.modalities import Attention, MultimodalNetwork, join
from beyondprop.pieces.diverged import DivergedError
from beyondprop.pieces.training import Recipe

QUIET = Progress(disable=True)


def network() -> MultimodalNetwork:
    torch.manual_seed(0)
    encoders = {
        "a": nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh()),
        "b": nn.Sequential(nn.Linear(2, 6), nn.Tanh()),
    }
    fusion = Attention({"a": 6, "b": 6}, 4)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, 3))


def batches(count: int, seed: int) -> list[tuple[dict[str, Any], Any]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            {
                "a": torch.randn(12, 3, generator=generator) + 2,
                "b": torch.randn(12, 2, generator=generator),
            },
            torch.randint(3, (12,), generator=generator),
        )
        for _ in range(count)
    ]


def joined(model: MultimodalNetwork, **given: Any) -> Any:
    recipe = given.pop("recipe", Recipe(epochs=2))
    return join(
        model,
        batches(4, 1),
        batches(2, 2),
        F.cross_entropy,
        lambda width: nn.Linear(width, 3),
        recipe=recipe,
        progress=QUIET,
        **given,
    )


def test_at_first_encoders_rest_with_their_batch_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    from beyondprop.modalities import joint

    model, seen = network(), {}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    known = joint.trained

    def watched(course: Any, recipe: Any, progress: Any, title: str, *rest: Any) -> Any:
        found = known(course, recipe, progress, title, *rest)
        seen[title] = {key: value.clone() for key, value in model.state_dict().items()}
        return found

    monkeypatch.setattr(joint, "trained", watched)
    joined(model, warm=2)
    for key, value in before.items():
        rests = key.startswith(("encoders", "fusion.project"))
        assert torch.equal(seen["fusion alone"][key], value) == rests, key
        assert not torch.equal(seen["all together"][key], seen["fusion alone"][key]), key
    assert all(each.requires_grad for each in model.parameters())
    assert not model.training


def test_each_modality_has_a_rate_of_its_own() -> None:
    model, before = network(), network()
    joined(model, rates={"a": 1e-3})
    small = (model.encoders["a"][0].weight - before.encoders["a"][0].weight).abs().max()
    large = (model.encoders["b"][0].weight - before.encoders["b"][0].weight).abs().max()
    assert 0 < small < 1e-4 < 1e-3 < large
    with pytest.raises(UserError, match="there is no modality 'c': the network has a, b"):
        joined(network(), rates={"c": 1.0})


def test_the_best_epoch_is_kept() -> None:
    model = network()
    made = joined(model, recipe=Recipe(epochs=6, learning_rate=0.3))
    assert made.validation[made.best] == min(made.validation)
    with torch.no_grad():
        losses = [F.cross_entropy(model(**x), y).item() for x, y in batches(2, 2)]
    assert sum(losses) / 2 == pytest.approx(min(made.validation), rel=1e-5)
    assert len(made.errors) == 6
    assert made.steps == 24


def test_a_loader_that_shuffles_gives_the_whole_the_orders_that_it_has_without_a_first_phase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from beyondprop.modalities import joint

    samples = [(x, y) for x, y in zip(torch.arange(12.0), torch.arange(12) % 3, strict=True)]

    def seen(warm: int) -> list[Tensor]:
        found = []

        def watched(course: Any, recipe: Any, *rest: Any) -> Any:
            if not course.rested:
                found.extend(y for _, y in course.batches(0))
            return known(course, recipe, *rest)

        loader = DataLoader(
            samples,  # type: ignore[arg-type]
            4,
            shuffle=True,
            generator=torch.Generator().manual_seed(3),
            collate_fn=lambda rows: (
                {"a": torch.ones(len(rows), 3), "b": torch.ones(len(rows), 2)},
                torch.stack([y for _, y in rows]),
            ),
        )
        with monkeypatch.context() as patched:
            patched.setattr(joint, "trained", watched)
            join(
                network(),
                loader,
                batches(2, 2),
                F.cross_entropy,
                lambda width: nn.Linear(width, 3),
                recipe=Recipe(epochs=1),
                warm=warm,
                progress=QUIET,
            )
        return found

    known = joint.trained
    for one, other in zip(seen(0), seen(2), strict=True):
        assert torch.equal(one, other)


def test_shared_weights_have_one_rate() -> None:
    model = network()
    model.encoders["b"][0].bias = model.encoders["a"][0].bias
    joined(model, rates={"a": 0.5})
    with pytest.raises(
        UserError, match="'b' shares weights with another modality that has its own"
    ):
        joined(model, rates={"a": 0.5, "b": 1.0})


def test_a_training_that_diverges_tells_what_it_took() -> None:
    with pytest.raises(DivergedError, match="is no longer finite in epoch") as caught:
        joined(network(), recipe=Recipe(epochs=3, learning_rate=1e30))
    whole = joined(network(), recipe=Recipe(epochs=1))
    assert caught.value.operations in (whole.operations, 2 * whole.operations)
    sent = pickle.loads(pickle.dumps(caught.value))  # as a worker does
    assert (str(sent), sent.operations) == (str(caught.value), caught.value.operations)


def test_scores_and_seconds_are_told_by_epoch() -> None:
    seen: list[bool] = []

    def score(model: nn.Module) -> float:
        seen.append(model.training)
        return float(len(seen))

    made = joined(network(), recipe=Recipe(epochs=3), warm=2, score=score)
    assert made.scores == (1.0, 2.0, 3.0)
    assert seen == [False] * 3
    assert len(made.seconds) == 5
    assert min(made.seconds) > 0
    assert joined(network()).scores == ()


def test_a_validation_loss_that_is_no_number_is_told() -> None:
    held = batches(2, 2)
    held[0][0]["a"][0] = torch.nan
    why = r"validation loss is not a number at learning rate 0.001: l"
    with pytest.raises(DivergedError, match=why) as caught:
        join(
            network(),
            batches(4, 1),
            held,
            F.cross_entropy,
            lambda width: nn.Linear(width, 3),
            recipe=Recipe(epochs=2),
            progress=QUIET,
        )
    assert caught.value.operations == joined(network(), recipe=Recipe(epochs=2)).operations
