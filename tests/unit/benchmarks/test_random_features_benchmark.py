"""Random features: attacks, ridge regression, and the whole benchmark in small."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import beyondprop
from beyondprop.optics import CalibratedFeatures, OpticalFeatures
from beyondprop.tasks import Split


def attacks():
    return importlib.import_module("attacks")


def linear():
    """Logits (x · w, -x · w) of images with four pixels."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([1.0, -2.0, 0.5, 1.0])
    model[1].weight.data = torch.stack([weight, -weight])
    return model, weight


@pytest.mark.parametrize("name", ["fgsm", "pgd", "square"])
def test_attacks_stay_in_the_box_and_lower_the_margin(name):
    model, _ = linear()
    x = torch.rand(50, 1, 2, 2)
    y = model(x).argmax(1)
    box = attacks().Box(0.2, 0.0, 1.0)
    moved = getattr(attacks(), name)(model, x, y, box)
    assert (moved - x).abs().max() <= 0.2 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    before, after = (attacks().margin(model(i), y) for i in (x, moved))
    assert (after <= before + 1e-6).all()
    assert (after < before).double().mean() > 0.9


def test_gradient_attacks_find_the_worst_of_a_linear_model():
    """In a box without borders the margin falls by 2 ε |w|₁, and by no more."""
    model, weight = linear()
    x = torch.randn(20, 1, 2, 2)
    y = model(x).argmax(1)
    box = attacks().Box(0.1, -100.0, 100.0)
    least = attacks().margin(model(x), y) - 2 * 0.1 * weight.abs().sum()
    for moved in (
        attacks().fgsm(model, x, y, box),
        attacks().pgd(model, x, y, box),
        attacks().pgd(model, x, y, box, loss=attacks().by_margin),
    ):
        torch.testing.assert_close(attacks().margin(model(moved), y), least)


def splits(classes=None):
    torch.manual_seed(0)
    made = []
    for count in (60, 30, 40):
        x = torch.randn(count, 5, dtype=torch.float64)
        y = (x[:, :2] + 0.1 * torch.randn(count, 2)).float()
        made.append(Split(x, (x[:, 0] > 0).long() if classes else y))
    return tuple(made)


def test_ridge_is_the_textbooks_and_the_same_by_samples_and_by_features():
    module = importlib.import_module("random_features_ridge")
    parts = splits()
    few = tuple(part.inputs for part in parts)
    many = tuple(torch.cat([x] * 20, 1) / 20**0.5 for x in few)  # more features than samples
    penalty, validation, test, learned = module.ridge(few, parts)
    assert learned == 12
    again = module.ridge(many, parts)
    assert again[:3] == pytest.approx((penalty, validation, test), rel=1e-4)
    x, y = parts[0].inputs, parts[0].targets.double()
    mean, centre = x.mean(0), y.mean(0)
    scale = penalty * (x - mean).square().sum(1).mean()
    inverse = torch.linalg.inv((x - mean).t() @ (x - mean) + scale * torch.eye(5))
    weights = inverse @ (x - mean).t() @ (y - centre)
    found = (parts[2].inputs - mean) @ weights + centre
    wrong = (found - parts[2].targets).square().mean().item()
    assert test == pytest.approx(1 - wrong, rel=1e-4)


def test_the_penalty_is_chosen_on_the_validation_split():
    module = importlib.import_module("random_features_ridge")
    parts = splits(classes=True)
    turned = Split(parts[2].inputs, 1 - parts[2].targets)
    features = tuple(part.inputs for part in parts)
    first, second = (module.ridge(features, (*parts[:2], test)) for test in (parts[2], turned))
    assert first[:2] == second[:2]
    assert first[2] + second[2] == pytest.approx(1)


def test_the_centred_kernel_is_that_of_many_centred_features():
    module = importlib.import_module("random_features_ridge")
    rows = tuple((torch.rand(n, 12) < 0.5).float() for n in (20, 5, 6))
    light = OpticalFeatures(100_000, device=importlib.import_module("beyondprop").optics.ideal())
    seen = [light(r) for r in rows]
    seen = [s - seen[0].mean(0) for s in seen]
    for kernel, part in zip(module.kernels(rows), seen, strict=True):
        found = (part @ seen[0].t() / 100_000).double()
        torch.testing.assert_close(found, kernel, rtol=0, atol=0.03)


def test_who_knows_the_matrix_sees_the_same_network():
    module = importlib.import_module("random_features_defence")
    model = module.WAYS["light, dfa"].model(16, 8, 30, seed=3)
    x = torch.randn(4, 1, 4, 4)
    known = module.calibrated(model)
    assert type(known[1][0]) is CalibratedFeatures
    assert torch.equal(known(x), model(x))
    plain = module.WAYS["plain, backprop"].model(16, 8, 30, seed=3)
    assert module.calibrated(plain) is plain
    assert torch.equal(plain.features[1].weight, model.features[1].weight)


@pytest.mark.parametrize("name", ["plain, dfa", "signs, backprop", "light, dfa", "light, backprop"])
def test_only_attacks_that_need_a_hidden_matrix_are_not_blind(name):
    module = importlib.import_module("random_features_defence")
    alive = {
        attack: torch.tensor([attack != falls for falls in ("square", "own pgd", "known pgd")])
        for attack in ("own pgd", "own pgd, margin", "known pgd", "known pgd, margin", "square")
    }
    made = module.WAYS[name].model(16, 8, 30, seed=0)
    found = module.shares(alive, module.telling(made))
    least = {"light, dfa": 1 / 3, "light, backprop": 2 / 3}  # square and own pgd, square alone
    assert found["blind"] == pytest.approx(least.get(name, 0))
    assert found["worst"] == 0
    assert found["own"] == found["known"] == pytest.approx(2 / 3)


def test_all_pgd_takes_the_steps_that_are_asked_for_and_both_losses(monkeypatch):
    module = importlib.import_module("random_features_defence")
    asked = []

    def pgd(_model, x, _y, _box, steps, loss):
        asked.append((steps, loss))
        return x

    monkeypatch.setattr(module, "pgd", pgd)
    rule = beyondprop.Backprop()
    model = module.WAYS["plain, backprop"].model(16, 8, 30, seed=0)
    handle = beyondprop.attach(model, rule, blocks=("features", "head"))
    x, y = torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long)
    module.attacked(handle, model, x, y, attacks().Box(0.1, 0.0, 1.0), steps=7, queries=3)
    both = [(7, loss) for loss in module.LOSSES.values()]
    assert asked[:4] == 2 * both
    assert len(asked) == 5  # and the transfer


def test_recovery_is_counted_within_a_family():
    recovery = importlib.import_module("random_features_tables").recovery
    natural = {"plain, frozen": [0.4, 0.6], "plain, backprop": [0.9], "plain, dfa": [0.8]}
    natural |= {"light, dfa": [0.8], "light, frozen": [0.2], "signs, backprop": [0.7]}
    assert recovery("plain, dfa", natural) == pytest.approx(0.75)
    assert recovery("plain, frozen", natural) == 0
    assert recovery("plain, backprop", natural) == 1
    assert recovery("light, dfa", natural) is None
    assert recovery("signs, backprop", natural) is None
    natural["light, backprop"] = [0.2]
    assert recovery("light, dfa", natural) is None


def test_r2_is_a_plain_number_and_accuracy_a_percentage():
    tables = importlib.import_module("random_features_tables")
    row = {"part": "ridge", "way": "a", "device": "–", "features": 0, "learned": 3}
    rows = [row | {"problem": m, "metric": m, "test": t} for m in tables.FORMS for t in (0.5, 0.7)]
    assert [line[3] for line in tables.ridge(rows)[1]] == ["60.00% ± 14.14", "0.600 ± 0.141"]


def test_what_is_kept_is_kept_for_these_sizes_and_this_code_alone(tmp_path, monkeypatch):
    benchmark = importlib.import_module("random_features")
    assert benchmark.digest("mnist") != benchmark.digest("digits")
    before = benchmark.digest("digits")
    assert benchmark.digest("digits") == before
    changed = tmp_path / "attacks.py"
    changed.write_text("another = 1")
    for what, name, value in (
        (benchmark, "RIDGE_SIZES", (50,)),
        (benchmark, "MEDIA", range(2)),
        (importlib.import_module("random_features_ridge"), "RATES", (1.0,)),
        (attacks(), "__file__", str(changed)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(what, name, value)
            assert benchmark.digest("digits") != before
    assert benchmark.digest("digits") == before


def test_the_benchmark_in_small(tmp_path: Path, monkeypatch, capsys):
    benchmark = importlib.import_module("random_features")
    monkeypatch.setattr(benchmark, "KERNEL_SIZES", (100, 1600))
    monkeypatch.setattr(benchmark, "RIDGE_SIZES", (50,))
    monkeypatch.setitem(benchmark.SETS, "digits", ("digits-conv", ("digits",), 16, 32))
    ridge = importlib.import_module("random_features_ridge")
    small = {"digits": ridge.Problem("digits-mlp", (100, 50, 50), (0.5,), "accuracy")}
    monkeypatch.setattr(ridge, "PROBLEMS", small)
    output, runs = tmp_path / "made.json", tmp_path / "runs"
    given = {"epochs": 1, "samples": 6, "steps": 2, "queries": 4, "runs": runs, "output": output}
    benchmark.main("digits", repeats=2, **given)
    rows = json.loads(output.read_text())["rows"]
    kernel = {(r["device"], r["features"]): r["error"] for r in rows if r["part"] == "kernel"}
    assert 2.5 < kernel["ideal", 100] / kernel["ideal", 1600] < 6  # 1/√n: 4
    defence = [r for r in rows if r["part"] == "defence"]
    assert len(defence) == 14
    assert all(row["worst"] <= row["blind"] <= row["natural"] for row in defence)
    assert all(("own" in row) == ("frozen" not in row["way"]) for row in defence)
    unhidden = [row for row in defence if not row["way"].startswith("light")]
    assert all(row["worst"] == row["blind"] <= row["known"] for row in unhidden)
    assert len([r for r in rows if r["part"] == "ridge"]) == 2 * 7
    tables = importlib.import_module("random_features_tables")
    for made in (tables.kernel, tables.ridge, tables.defence):
        heads, lines = made(rows)
        assert lines
        assert all(len(line) == len(heads) for line in lines)
    assert "| defence, light, dfa | no attack |" in output.with_suffix(".md").read_text()
    (place,) = runs.iterdir()
    (place / "defence-light_dfa-1.json").unlink()  # as if interrupted: this alone is made again
    monkeypatch.setattr(benchmark, "scores", None)
    benchmark.main("digits", repeats=2, **given)
    assert json.loads(output.read_text())["rows"] == rows
    assert "Random features by light" in capsys.readouterr().out
