"""Sub-networks are trained alone: by their own curves, in any process, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.files import StorageError, read_json, write_json
from beyondprop.jobs import Workers
from beyondprop.modalities import Attention, MultimodalNetwork, Trained, pretrain
from beyondprop.modalities import alone as module
from beyondprop.pieces.training import Recipe

QUIET = Progress(disable=True)
RECIPE = Recipe(epochs=12, learning_rate=0.03)


def network() -> MultimodalNetwork:
    torch.manual_seed(0)
    encoders = {
        "wide": nn.Sequential(nn.Linear(6, 16), nn.Tanh()),
        "small": nn.Sequential(nn.Linear(2, 8), nn.Tanh()),
    }
    fusion = Attention({"wide": 16, "small": 8}, 4)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, 3))


def head(width: int) -> nn.Module:
    return nn.Linear(width, 3)


def batches(count: int, seed: int, present: bool = False) -> list[tuple[dict[str, Any], Any]]:
    """Classes by the sums of either input, which both say."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        y = torch.randint(3, (16,), generator=generator)
        wide = torch.randn(16, 6, generator=generator) * 0.3 + y[:, None] - 1
        small = torch.randn(16, 2, generator=generator) + y[:, None] - 1
        inputs: dict[str, Any] = {"wide": wide, "small": small}
        if present:
            seen = torch.rand(16, 2, generator=generator) < 0.7
            seen[~seen.any(1)] = True
            wide[~seen[:, 0]], small[~seen[:, 1]] = torch.nan, torch.nan
            inputs["present"] = seen
        made.append((inputs, y))
    return made


def pretrained(folder: Path, **changes: Any) -> tuple[MultimodalNetwork, dict[str, Trained]]:
    model = network()
    given: dict[str, Any] = {"recipe": RECIPE, "patience": 2, "progress": QUIET} | changes
    data = given.pop("data", batches(8, 1))
    return model, pretrain(model, data, batches(3, 2), F.cross_entropy, head, folder, **given)


def test_encoders_and_projections_are_put_into_the_network(tmp_path: Path) -> None:
    model, made = pretrained(tmp_path)
    fresh = network()
    for name, each in made.items():
        for mine, alone in (
            (model.encoders[name], each.network.encoder),
            (model.fusion.project[name], each.network.project),
        ):
            for one, other in zip(mine.parameters(), alone.parameters(), strict=True):
                assert torch.equal(one, other)
        assert not torch.equal(
            next(model.encoders[name].parameters()), next(fresh.encoders[name].parameters())
        )
    assert torch.equal(model.head.weight, fresh.head.weight)


def test_each_ends_on_its_own_curve_with_its_best_weights(tmp_path: Path) -> None:
    _, made = pretrained(tmp_path)
    held = batches(3, 2)
    for name, each in made.items():
        curve = each.record["validation"]
        best = each.record["best"]
        assert curve[best] == min(curve)
        assert len(curve) in (best + 3, RECIPE.epochs)
        with torch.no_grad():
            losses = [F.cross_entropy(each.network(x[name]), y).item() for x, y in held]
        assert sum(losses) / 3 == pytest.approx(curve[best], rel=1e-6)
        assert each.record["steps"] == 8 * len(curve)
        inner = 6 * 16 + 16 * 4 if name == "wide" else 2 * 8 + 8 * 4
        first = 6 * 16 if name == "wide" else 2 * 8
        whole = inner + 4 * 3
        assert each.record["operations"] == 8 * 16 * len(curve) * 2 * (3 * whole - first)
    assert len({len(each.record["validation"]) for each in made.values()}) == 2


def test_samples_without_a_modality_are_left_out(tmp_path: Path) -> None:
    _, made = pretrained(tmp_path, data=batches(8, 1, present=True))
    for place, name in enumerate(("wide", "small")):
        count = sum(int(x["present"][:, place].sum()) for x, _ in batches(8, 1, present=True))
        assert made[name].record["samples"] == count * len(made[name].record["validation"])
        assert all(map(torch.isfinite, map(torch.tensor, made[name].record["errors"])))


def test_a_batch_without_a_modality_is_told(tmp_path: Path) -> None:
    data = [({"wide": x["wide"]}, y) for x, y in batches(2, 1)]
    with pytest.raises(UserError, match="a batch has no 'small', so its sub-network can't"):
        pretrained(tmp_path, data=data)


def content(folder: Path) -> dict[str, Any]:
    """All that is kept, but for the seconds that it took."""
    made: dict[str, Any] = {}
    for path in sorted(folder.glob("*/*.*")):
        made[str(path.relative_to(folder))] = path.read_bytes()
        if path.suffix == ".json":
            record = read_json(path) or {}
            record.pop("seconds")
            made[str(path.relative_to(folder))] = record
    return made


def test_a_second_call_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = pretrained(tmp_path)
    before = content(tmp_path)
    (tmp_path / "small" / "record.json").unlink()
    seen: list[str] = []
    known = module.trained

    def counted(*given: Any) -> Any:
        seen.append(given[3])
        return known(*given)

    monkeypatch.setattr(module, "trained", counted)
    again, _ = pretrained(tmp_path)
    assert seen == ["small alone"]
    assert content(tmp_path) == before
    pretrained(tmp_path, recipe=replace(RECIPE, learning_rate=0.02))
    assert seen[1:] == ["wide alone", "small alone"]
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_processes_train_the_same(tmp_path: Path) -> None:
    pretrained(tmp_path / "one")
    pretrained(tmp_path / "two", workers=Workers(jobs=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_each_modality_may_have_a_recipe_and_a_rule(tmp_path: Path) -> None:
    rule = bp.DirectFeedbackAlignment()
    recipes = {"wide": RECIPE, "small": replace(RECIPE, rule=rule, epochs=3)}
    _, made = pretrained(tmp_path, recipe=recipes)
    assert len(made["small"].record["validation"]) <= 3
    with pytest.raises(
        UserError, match="there are recipes for wide, but the modalities are wide, small"
    ):
        pretrained(tmp_path, recipe={"wide": RECIPE})


def test_damaged_files_are_told(tmp_path: Path) -> None:
    pretrained(tmp_path)
    kept = tmp_path / "wide" / "weights.safetensors"
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="is not what was written there: delete"):
        pretrained(tmp_path)
    write_json(tmp_path / "wide" / "record.json", {"asked": {}})
    pretrained(tmp_path)  # of something else: trained again


def test_patience_is_one_at_least(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="patience must be 1 or more epochs, not 0"):
        pretrained(tmp_path, patience=0)


def shuffling(own: bool) -> DataLoader[Any]:
    """The batches' samples in another order in each pass."""
    samples = [
        ({"wide": wide, "small": small}, y)
        for x, classes in batches(8, 1)
        for wide, small, y in zip(x["wide"], x["small"], classes, strict=True)
    ]
    generator = torch.Generator().manual_seed(5) if own else None
    return DataLoader(samples, 16, shuffle=True, generator=generator)  # type: ignore[arg-type]


@pytest.mark.parametrize("own", [True, False])
def test_a_loader_that_shuffles_gives_each_modality_the_same_orders(
    tmp_path: Path, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, epochs=2)
    given: dict[str, Any] = {"data": shuffling(own), "recipe": recipe}
    pretrained(tmp_path / "serial", **given)
    expected = content(tmp_path / "serial")
    pretrained(tmp_path / "again", **given)  # the caller's loader was left as it was
    assert content(tmp_path / "again") == expected
    given["data"] = shuffling(own)
    torch.rand(3)  # PyTorch's generator has no part in it
    pretrained(tmp_path / "two", workers=Workers(jobs=2), **given)
    assert content(tmp_path / "two") == expected
    for name in ("small", "wide"):
        for path in (tmp_path / "serial" / name).iterdir():
            path.unlink()
        seen: list[str] = []
        known = module.trained

        def counted(*given: Any, known: Any = known, seen: list[str] = seen) -> Any:
            seen.append(given[3])
            return known(*given)

        with monkeypatch.context() as patched:
            patched.setattr(module, "trained", counted)
            torch.rand(3)
            pretrained(tmp_path / "serial", **(given | {"data": shuffling(own)}))
        assert seen == [f"{name} alone"]
        assert content(tmp_path / "serial") == expected


def lone(rows: tuple[int, ...], size: int = 6) -> list[tuple[dict[str, Any], Any]]:
    """Batches of which so many samples have the modality 'wide'."""
    made = batches(len(rows), 1)
    for (x, _), count in zip(made, rows, strict=True):
        seen = torch.ones(16, 2, dtype=torch.bool)
        seen[count:, 0] = False
        x["wide"][count:] = torch.nan
        x["present"] = seen
    return [({k: v[:size] for k, v in x.items()}, y[:size]) for x, y in made]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((1, 3, 0, 2, 1), [4, 3]),
        ((0, 1), [1]),
        ((1, 1, 1), [3]),
        ((1, 1, 1, 1), [2, 2]),
        ((2, 1, 1, 4, 1), [2, 2, 5]),
        ((2, 1, 4), [2, 5]),
    ],
)
def test_a_single_sample_goes_with_its_neighbours(
    rows: tuple[int, ...], expected: list[int]
) -> None:
    data = lone(rows)
    own = module.OfModality(data, "wide", 0)
    assert [len(y) for _, y in own] == expected
    found = torch.cat([x for x, _ in own])
    wanted = [x["wide"][:count] for (x, _), count in zip(data, rows, strict=True)]
    assert torch.equal(found, torch.cat(wanted))


def test_batches_of_one_sample_stay_and_other_shapes_are_not_mixed() -> None:
    assert [len(y) for _, y in module.OfModality(lone((1, 1, 1), size=1), "wide", 0)] == [1, 1, 1]
    data = lone((1, 3))
    data[1][0]["wide"] = torch.zeros(6, 9)
    assert [len(y) for _, y in module.OfModality(data, "wide", 0)] == [1, 3]


def test_inputs_of_several_tensors_go_together() -> None:
    data = lone((1, 3))
    for x, _ in data:
        x["wide"] = {"frames": x["wide"], "lengths": torch.arange(6), "more": (x["small"],)}
    (found,) = module.OfModality(data, "wide", 0)
    assert found[0]["lengths"].tolist() == [0, 0, 1, 2]
    assert found[0]["more"][0].shape == (4, 2)


def test_a_batch_norm_learns_where_few_have_the_modality(tmp_path: Path) -> None:
    def normed() -> MultimodalNetwork:
        model = network()
        model.encoders["wide"] = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16))
        return model

    given: Any = (F.cross_entropy, head, tmp_path)
    few = replace(RECIPE, epochs=2)
    data = lone((1, 3, 0, 2, 1))
    made = pretrain(normed(), data, batches(3, 2), *given, recipe=few, progress=QUIET)
    assert made["wide"].record["samples"] == 2 * 7
    why = "wide alone failed: .*; a batch norm needs several samples that have the modality"
    with pytest.raises(UserError, match=why):
        pretrain(normed(), lone((0, 1)), batches(3, 2), *given, recipe=few, progress=QUIET)


def test_a_modality_that_no_sample_has_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sample has 'wide', so its sub-network can't be"):
        pretrained(tmp_path, data=lone((0, 0)))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_validation_loss_that_is_no_number_is_told(tmp_path: Path, wrong: float) -> None:
    held = batches(1, 2)
    held[0][0]["wide"][0] = wrong
    given: Any = (F.cross_entropy, head, tmp_path)
    with pytest.raises(
        UserError, match=r"the validation loss is not a number at learning rate 0.03:"
    ):
        pretrain(network(), batches(2, 1), held, *given, recipe=RECIPE, progress=QUIET)


def test_one_epoch_whose_loss_is_no_number_is_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beyondprop.pieces import stopping

    known, calls = stopping.validation_loss, 0

    def at_times(*given: Any) -> float:
        nonlocal calls
        calls += 1
        return torch.inf if calls == 1 else known(*given)

    monkeypatch.setattr(stopping, "validation_loss", at_times)
    _, made = pretrained(tmp_path)
    record = made["wide"].record
    assert record["validation"][0] is None
    assert record["best"] > 0
    _, again = pretrained(tmp_path)
    assert again["wide"].record == record


def test_seconds_are_told_by_epoch(tmp_path: Path) -> None:
    _, made = pretrained(tmp_path)
    for each in made.values():
        assert len(each.record["seconds"]) == len(each.record["validation"])
        assert min(each.record["seconds"]) > 0
