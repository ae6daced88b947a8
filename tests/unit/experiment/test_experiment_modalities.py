"""Modalities trained alone and together: what each method reaches, and what it computes."""

from __future__ import annotations

import importlib
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modal_task import part
from rich.progress import Progress
from torch import nn

from beyondprop.cli import main
from beyondprop.cli.modalities import parser
from beyondprop.cli.parser import spec_of, with_lists
from beyondprop.errors import UserError
from beyondprop.experiment import modal_attempts
from beyondprop.experiment.modal_alone import Alone, AloneAttempt, kept
from beyondprop.experiment.modal_attempts import Budget, ByMethod, MethodAttempt, steps_of
from beyondprop.experiment.modal_course import converged, course, reached, steps_by_epoch
from beyondprop.experiment.modal_measures import LateFusion, measured, with_noise
from beyondprop.experiment.modal_methods import METHODS, OURS
from beyondprop.experiment.modal_scores import weighted_f1
from beyondprop.experiment.modal_setting import digests, modal_setting
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.modal_table import notes, rows
from beyondprop.experiment.modaling import (
    LATE,
    SINGLE,
    OfSeed,
    methods_of,
    modalities_task,
    record_of,
)
from beyondprop.files import read_json, write_json
from beyondprop.jobs import Workers
from beyondprop.modalities import (
    Attention,
    Concatenation,
    CrossAttention,
    Gating,
    LowRankTensor,
    join,
)
from beyondprop.modalities.alone import RECORD
from beyondprop.registry import label
from beyondprop.report import render_modalities
from beyondprop.tasks import Split

QUIET = Progress(disable=True)
SPEC = ModalitiesSpec(
    task="modal_task:TWO",
    seeds=(0, 1),
    epochs=2,
    alone_epochs=4,
    patience=2,
    rates=(0.03, 0.1),
)
FEW = replace(SPEC, methods=(OURS, "joint"), seeds=(0,))


def timeless(found: Any) -> Any:
    """What is found, without the seconds that it took."""
    if isinstance(found, dict):
        return {key: timeless(each) for key, each in found.items() if key != "seconds"}
    return [timeless(each) for each in found] if isinstance(found, list) else found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("modalities") / "m"
    modalities_task(SPEC, made, progress=QUIET)
    return made


@pytest.fixture
def record(folder: Path) -> dict[str, Any]:
    return read_json(folder / "modalities.json") or {}


def test_every_method_is_trained_and_judged(record: dict[str, Any]) -> None:
    for seed in record["seeds"]:
        assert list(seed["methods"]) == [*METHODS, LATE, SINGLE]
        for name, each in seed["methods"].items():
            assert "failed" not in each, name
            assert each["score"] > 0.4, name  # of three classes
        assert list(seed["alone"]) == ["wide", "small"]
        best = max(seed["alone"], key=lambda name: seed["alone"][name]["validation_score"])
        assert seed["methods"][SINGLE]["modality"] == best
        assert seed["methods"][SINGLE]["score"] == seed["alone"][best]["score"]


def test_methods_have_the_computation_of_pre_training_and_joint_training(
    record: dict[str, Any],
) -> None:
    for seed in record["seeds"]:
        budget = seed["budget"]
        assert budget["total"] == budget["alone"] + budget["warm"] + budget["joint"]
        assert budget["alone"] == sum(each["operations"] for each in seed["alone"].values())
        for name, each in seed["methods"].items():
            if name in METHODS:  # to half a step
                assert each["operations"] == pytest.approx(budget["total"], rel=0.1), name
        ours, joint = (seed["methods"][name] for name in (OURS, "joint"))
        assert ours["steps"] == 2 * 5
        assert joint["steps"] > ours["steps"]
        assert ours["before"] == budget["alone"] + budget["warm"]
        assert joint["before"] == 0
        assert seed["methods"]["Gradient-Blending"]["before"] > 0
        assert seed["methods"]["UMT"]["before"] == budget["alone"]


def test_the_operations_of_a_step_are_counted(record: dict[str, Any]) -> None:
    encoders = 6 * 8 + 2 * 8
    inner = 2 * 8 * 6 + 12 * 6 + 6 * 2 + 12 * 3
    sample = 2 * (3 * (encoders + inner) - encoders)  # inputs need no gradient
    for seed in record["seeds"]:
        assert seed["budget"]["joint"] == 2 * 160 * sample
        # Encoders and projections run forward alone.
        fusion = 12 * 6 + 6 * 2 + 12 * 3
        warm = 2 * (encoders + 2 * 8 * 6 + 3 * fusion - 12 * 6)
        assert seed["budget"]["warm"] == pytest.approx(160 * warm)


def test_what_the_whole_search_took_is_recorded(folder: Path, record: dict[str, Any]) -> None:
    for seed in record["seeds"]:
        kept_in, lone = folder / f"seed-{seed['seed']}", 0.0
        for name, each in seed["alone"].items():
            trials = [
                read_json(kept_in / "alone" / name / f"{rate:.6g}" / "record.json") or {}
                for rate in each["rates"]
            ]
            assert each["searched_operations"] == sum(t["found"]["operations"] for t in trials)
            lone += each["searched_operations"]
        budget = seed["budget"]
        for name, method in METHODS.items():
            each = seed["methods"][name]
            count = len(each["rates"])
            own = each["searched_operations"] - lone * method.builds_on_alone
            once = budget["alone"] * (method.pretrained or method.taught)
            assert own == pytest.approx(count * (each["operations"] - once), rel=0.05), name
        for name in (LATE, SINGLE):
            assert seed["methods"][name]["searched_operations"] == lone
    assert {name for name, each in METHODS.items() if not each.builds_on_alone} == {
        *("joint", "joint concatenation", "OGM-GE", "MMPareto"),
    }


def test_with_rates_by_modality_encoders_have_those_that_served_them_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, seen = modal_setting(SPEC, 0), []
    found = (read_json(folder / "modalities.json") or {})["seeds"][0]

    def watched(*given: Any, **named: Any) -> Any:
        seen.append((named["recipe"].learning_rate, named["rates"]))
        return join(*given, **named)

    monkeypatch.setattr(modal_attempts, "join", watched)
    budget = Budget(**{key: found["budget"][key] for key in ("alone", "warm", "joint")})
    for name in ("joint + rates by modality", "pre-training + rates by modality", "joint"):
        own = ByMethod(SPEC, 0, name, folder / "seed-0", found["alone"], budget, digests(setting))
        own.attempt(0.05)._trained(QUIET)
    for rate, rates in seen[:2]:
        assert rate == 0.05
        for name, each in found["alone"].items():
            assert rate * rates[name] == pytest.approx(each["rate"])
    assert seen[2] == (0.05, {})


OWN = """
from dataclasses import replace

import torch.nn.functional as F
from modal_task import TWO
from torch import nn

from beyondprop.modalities import Attention, MultimodalNetwork
from beyondprop.tasks import Split


class Encoder(nn.Linear):
    def forward(self, x):
        return super().forward(x).tanh()  # GAIN


def loss(outputs, targets):
    return F.cross_entropy(outputs, targets)  # SCALE


def moved(part):
    return Split(part.inputs, part.targets, part.notes)  # SHIFT


def model():
    encoders = {"wide": Encoder(6, 8), "small": Encoder(2, 8)}
    fusion = Attention({"wide": 8, "small": 8}, 6)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, 3))


OWN = replace(TWO, load=lambda folder: TWO.load(folder).mapped(moved), model=model, loss=loss)
"""
CHANGES = {
    "code": (".tanh()  # GAIN", ".tanh() * 0.5"),
    "loss": ("  # SCALE", " * 2"),
    "data": ("part.targets, part.notes)  # SHIFT", "(part.targets + 1) % 3, part.notes)"),
    "network": ("Encoder(2, 8)", "Encoder(2, 8, bias=False)"),
}


def write_own(folder: Path, changed: str | None) -> None:
    """Write the user's module, unchanged or changed, so that it is imported again."""
    text = OWN if changed is None else OWN.replace(*CHANGES[changed])
    sys.modules.pop("own_modal_task", None)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    (folder / "own_modal_task.py").write_text(text)
    importlib.invalidate_caches()


def test_changed_code_data_or_loss_of_one_name_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = replace(SPEC, task="own_modal_task:OWN")
    write_own(tmp_path, None)
    before = digests(modal_setting(spec, 0))
    write_own(tmp_path, None)
    assert digests(modal_setting(spec, 0)) == before
    for key in CHANGES:
        write_own(tmp_path, key)
        after = digests(modal_setting(spec, 0))
        assert {each for each in after if after[each] != before[each]} == {key}


def test_changed_data_is_not_given_an_earlier_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = replace(FEW, task="own_modal_task:OWN", epochs=1, alone_epochs=1, rates=(0.05,))
    write_own(tmp_path, None)
    first = modalities_task(spec, tmp_path / "m", progress=QUIET)
    write_own(tmp_path, "data")
    second = modalities_task(spec, tmp_path / "m", True, QUIET)
    fresh = modalities_task(spec, tmp_path / "fresh", progress=QUIET)
    assert timeless(second["seeds"]) == timeless(fresh["seeds"]) != timeless(first["seeds"])
    for kind in (AloneAttempt, MethodAttempt):
        monkeypatch.setattr(kind, "work", None)
    assert modalities_task(spec, tmp_path / "m", True, QUIET) == second


@pytest.mark.parametrize(
    ("fusion", "kind", "features"),
    [
        ("attention", Attention, 12),
        ({"fusion": "low-rank", "rank": 2}, LowRankTensor, 6),
        ("gating", Gating, 6),
        ({"cross-attention": {"heads": 3}}, CrossAttention, 12),
        ("concatenation", Concatenation, 12),
    ],
)
def test_a_fusion_replaces_the_task_s_own(fusion: Any, kind: type, features: int) -> None:
    own, other = (modal_setting(replace(SPEC, fusion=each), 0).network() for each in (None, fusion))
    assert type(other.fusion) is kind
    assert other.head.in_features == features
    assert torch.equal(own.encoders["wide"][0].weight, other.encoders["wide"][0].weight)
    for one, mine in zip(own.fusion.project.values(), other.fusion.project.values(), strict=True):
        assert torch.equal(one.weight, mine.weight)  # type: ignore[arg-type]
    if features == own.fusion.features:
        assert torch.equal(own.head.weight, other.head.weight)
    assert other(**part(5, 0).inputs).shape == (5, 3)
    plain = modal_setting(replace(SPEC, fusion=fusion), 0).concatenated()
    assert plain.head.in_features == 12


def test_a_head_that_does_not_fit_a_fusion_is_told() -> None:
    setting = modal_setting(SPEC, 0)
    deep = setting.network()
    deep.head = nn.Sequential(nn.Linear(12, 3))
    own = replace(setting, task=replace(setting.task, model=lambda: deep))
    assert replace(own, spec=replace(SPEC, fusion="attention")).network().head is deep.head
    with pytest.raises(
        UserError,
        match=r"head takes 12 features and Gating gives 6: only a head that is a single nn\.Linear",
    ):
        replace(own, spec=replace(SPEC, fusion="gating")).network()


def test_a_fusion_is_named_on_the_command_line() -> None:
    given = ["--fusion", "{fusion: low-rank, rank: 2}", "--methods", "joint + rates by modality"]
    spec = spec_of(ModalitiesSpec, parser().parse_args(with_lists(["modalities", *given])[1:]))
    assert spec.fusion == {"fusion": "low-rank", "rank": 2}
    assert label(spec.fusion) == "low-rank(rank=2)"
    assert spec.methods == ("joint + rates by modality",)


@pytest.mark.parametrize("fusion", [None, "low-rank"])
def test_modalities_are_left_out_in_training_where_that_is_asked_for(fusion: str | None) -> None:
    own = modal_setting(replace(SPEC, fusion=fusion), 0)
    asked = replace(own, spec=replace(own.spec, dropout=0.3))
    assert own.network().dropout == 0
    assert asked.network().dropout == asked.concatenated().dropout == 0.3
    assert digests(own)["network"] != digests(asked)["network"]
    for wrong in (-0.1, 1.0):
        with pytest.raises(UserError, match="dropout must be from 0 to less than 1"):
            replace(SPEC, dropout=wrong)


def test_another_fusion_is_trained_and_told(tmp_path: Path) -> None:
    spec = replace(FEW, fusion="low-rank", epochs=1, alone_epochs=1, rates=(0.05,))
    record = modalities_task(spec, tmp_path / "m", progress=QUIET)
    assert record["seeds"][0]["fusion"] == "LowRankTensor"
    assert record["seeds"][0]["methods"]["joint"]["trust"] is None
    page = render_modalities(record)
    assert "a fusion (LowRankTensor) then joins" in page
    assert "attention then" not in page
    assert methods_of(replace(SPEC, fusion="concatenation")) == tuple(
        name for name, each in METHODS.items() if each.attentive
    )
    with pytest.raises(UserError, match="unknown fusion 'low'"):
        modalities_task(replace(spec, fusion="low"), tmp_path / "n", progress=QUIET)


def test_costs_to_the_target_hold_what_comes_before(record: dict[str, Any]) -> None:
    for seed in record["seeds"]:
        assert seed["target"] == seed["methods"][SINGLE]["validation_score"]
        total = sum(each["seconds"] for each in seed["alone"].values())
        for name, each in seed["methods"].items():
            scores = [point["score"] for point in each["course"]]
            assert each["course"][-1]["operations"] == pytest.approx(each["operations"])
            assert each["course"][-1]["seconds"] == pytest.approx(each["seconds"])
            found = each["to_target"]
            if max(scores) < seed["target"]:
                assert found is None, name
                continue
            place = next(i for i, score in enumerate(scores) if score >= seed["target"])
            assert found == {
                "epoch": place + 1,
                **{key: each["course"][place][key] for key in ("operations", "seconds")},
            }
            if name in METHODS:
                assert found["operations"] > each["before"]
                assert each["course"][each["best"]]["score"] == each["validation_score"]
            if name in METHODS and METHODS[name].pretrained:
                assert found["seconds"] > total
        assert seed["methods"][SINGLE]["to_target"] is not None


def test_modalities_converge_by_their_own_curves(record: dict[str, Any]) -> None:
    for seed in record["seeds"]:
        for each in seed["alone"].values():
            losses, start = each["validation"], each["start"]
            near = min(losses) + 0.05 * (start - min(losses))
            epochs = next(i for i, loss in enumerate(losses, 1) if loss <= near)
            found = each["converged"]
            assert found["epochs"] == epochs <= each["best"] + 1
            share = epochs / len(losses)
            assert found["operations"] == pytest.approx(share * each["operations"])
            assert 0 < found["seconds"] <= each["seconds"]


def test_a_loss_that_never_falls_does_not_converge() -> None:
    way = course([1.0, 1.0], [0.5, 0.25], [0.1, 0.2], (4.0, 2.0))
    assert way[-1] == {"operations": 6.0, "seconds": 2.75, "score": 0.2}
    assert converged(1.0, [1.5, 1.2], way) is None
    assert converged(math.nan, [0.5, 0.2], way) is None
    assert converged(1.0, [None, None], way) is None
    assert converged(1.0, [None, 0.5], way) == {"epochs": 2, "operations": 6.0, "seconds": 2.75}
    assert converged(1.0, [0.524, 0.5], way) == {"epochs": 1, "operations": 5.0, "seconds": 2.5}
    assert reached(way, 0.3) is None
    assert reached(way, 0.1) == {"epoch": 1, "operations": 5.0, "seconds": 2.5}
    assert list(steps_by_epoch(7, 3)) == [3, 3, 1]


@pytest.mark.parametrize(("target", "reaches"), [(2.0, False), (0.0, True)])
def test_a_target_may_be_given(
    folder: Path, record: dict[str, Any], target: float, reaches: bool
) -> None:
    seed = record["seeds"][0]
    setting = modal_setting(replace(SPEC, target=target), 0)
    budget = Budget(*(seed["budget"][name] for name in ("alone", "warm", "joint")))
    own = OfSeed(setting, folder / "seed-0", seed["alone"], budget)
    methods = {name: seed["methods"][name] for name in (OURS, "joint")}
    found = record_of(own, methods | {"UMT": {"rate": 0.1, "failed": "it did"}})
    assert found["target"] == target
    failed = found["methods"].pop("UMT")
    assert {key: failed.pop(key) for key in ("rate", "failed")} == {"rate": 0.1, "failed": "it did"}
    assert list(failed) == ["searched_operations"]
    for each in found["methods"].values():
        assert (each["to_target"] is not None) == reaches


def test_parts_noise_and_trust_are_measured(record: dict[str, Any]) -> None:
    for seed in record["seeds"]:
        ours, joined = (seed["methods"][n] for n in (OURS, "pre-training + concatenation"))
        assert list(ours["missing"]) == list(ours["noise"]) == ["wide", "small"]
        trust = ours["trust"]
        assert sum(trust["mean"].values()) == pytest.approx(1)
        assert trust["any_right"] >= trust["picked_right"]
        assert trust["any_right"] >= trust["mean_right"]
        assert len(trust["samples"]) == len(trust["right"]) == 12
        assert 0.3 < trust["on_informative"] <= 1
        assert trust["share_informative"] == 0.5
        assert joined["trust"] is None
        assert set(ours["named"]) == {"accuracy", "weighted_f1"}
        assert ours["named"]["accuracy"] == ours["score"]


def test_a_second_call_trains_nothing_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = shutil.copytree(folder, tmp_path / "m")
    (again / "modalities.json").unlink()
    for kind in (AloneAttempt, MethodAttempt):
        monkeypatch.setattr(kind, "work", None)
    before = read_json(folder / "modalities.json") or {}
    assert modalities_task(SPEC, again, True, QUIET)["seeds"] == before["seeds"]


def test_what_an_earlier_version_left_is_made_anew(
    folder: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    """Its results have no course, of which costs to a target are read."""
    again, alone = shutil.copytree(folder, tmp_path / "m") / "seed-0", record["seeds"][0]["alone"]
    budget = Budget(*(record["seeds"][0]["budget"][name] for name in ("alone", "warm", "joint")))
    known = digests(modal_setting(SPEC, 0))
    attempts = (
        Alone(SPEC, 0, "wide", again, known).attempt(0.1),
        ByMethod(SPEC, 0, "joint", again, alone, budget, known).attempt(0.1),
    )
    for each, path in zip(attempts, (attempts[0].folder / RECORD, attempts[1].path), strict=True):
        assert each.earlier() is not None
        made = read_json(path) or {}
        del made["found"]["course"]
        write_json(path, made)
        assert each.earlier() is None


def test_a_seed_is_added_and_two_processes_train_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    modalities_task(FEW, one, progress=QUIET)
    added = modalities_task(replace(FEW, seeds=(1,)), one, True, QUIET)
    whole = replace(FEW, seeds=(0, 1))
    both = modalities_task(whole, two, progress=QUIET, workers=Workers(jobs=2))
    assert timeless(added["seeds"]) == timeless(both["seeds"])


def test_what_was_stopped_at_any_write_goes_on_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = modalities_task(FEW, tmp_path / "calm", progress=QUIET)["seeds"]
    import beyondprop.experiment.modal_alone as alone
    import beyondprop.experiment.modal_attempts as attempts

    left, real = 0, alone.write_json

    def stopping(*given: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        real(*given)

    for module in (alone, attempts):
        monkeypatch.setattr(module, "write_json", stopping)
    for moment in range(1, 9):
        left = moment % 3 + 1
        try:
            found = modalities_task(FEW, tmp_path / "stopped", moment > 1, QUIET)
        except KeyboardInterrupt:
            continue
        break
    left = 0
    found = modalities_task(FEW, tmp_path / "stopped", True, QUIET)
    assert timeless(found["seeds"]) == timeless(expected)


def test_late_fusion_is_the_mean_of_probabilities() -> None:
    torch.manual_seed(0)
    networks: Any = {"a": nn.Linear(2, 3), "b": nn.Linear(4, 3)}
    model = LateFusion(networks, torch.zeros(1, dtype=torch.int64))
    x, y = torch.randn(5, 2), torch.randn(5, 4)
    both = (networks["a"](x).softmax(1) + networks["b"](y).softmax(1)) / 2
    torch.testing.assert_close(model(a=x, b=y).exp(), both)
    torch.testing.assert_close(model(a=x).exp(), networks["a"](x).softmax(1))
    present = torch.tensor([[True, True], [True, False], [False, True], [True, True], [True, True]])
    y[1], x[2] = torch.nan, torch.nan
    found = model(a=x, b=y, present=present).exp()
    torch.testing.assert_close(found[1], networks["a"](x).softmax(1)[1])
    torch.testing.assert_close(found[2], networks["b"](y).softmax(1)[2])


def test_late_fusion_reads_nothing_that_a_sample_lacks() -> None:
    torch.manual_seed(0)
    networks: Any = {"a": nn.Embedding(4, 3), "b": nn.Linear(4, 3)}
    model = LateFusion(networks, torch.zeros(1, dtype=torch.int64))
    x, y = torch.tensor([1, 99]), torch.randn(2, 4)  # 99 is no number of the table
    present = torch.tensor([[True, False], [False, True]])
    found = model(a=x, b=y, present=present).exp()
    torch.testing.assert_close(found[1], networks["b"](y).softmax(1)[1])
    only = torch.tensor([[False, True], [False, True]])
    torch.testing.assert_close(model(a=x, b=y, present=only).exp(), networks["b"](y).softmax(1))
    with pytest.raises(UserError, match="a sample has no modality: leave it out"):
        model(a=x, b=y, present=torch.tensor([[True, True], [False, False]]))


def test_late_fusion_of_numbers_and_of_labels() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(5, 2), torch.randn(5, 4)
    for outputs in (1, 3):
        networks: Any = {"a": nn.Linear(2, outputs), "b": nn.Linear(4, outputs)}
        one, other = networks["a"](x), networks["b"](y)
        values = LateFusion(networks, torch.zeros(1))
        torch.testing.assert_close(values(a=x, b=y), (one + other) / 2)
        labels = LateFusion(networks, torch.zeros(1, dtype=torch.bool))
        both = (one.sigmoid() + other.sigmoid()) / 2
        torch.testing.assert_close(labels(a=x, b=y).sigmoid(), both)


def test_weighted_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    torch.manual_seed(0)
    targets, said = torch.randint(4, (50,)), torch.randint(3, (50,))
    expected = metrics.f1_score(targets, said, average="weighted", zero_division=0.0)
    assert weighted_f1(said, targets, 5) == pytest.approx(expected)


def test_noise_changes_one_modality_alone(folder: Path) -> None:
    setting = modal_setting(SPEC, 0)
    found = (read_json(folder / "modalities.json") or {})["seeds"][0]["alone"]
    alone = {name: kept(setting, folder / "seed-0", name, each) for name, each in found.items()}
    late = LateFusion(alone, setting.data.test.batch(slice(0, 1))[1])
    found = measured(setting, late.eval(), alone)
    assert found["trust"] is None
    for name in ("wide", "small"):
        score = setting.task.metric(
            alone[name](setting.data.test.batch(slice(0, 90))[0][name]), part(90, 3).targets
        )
        assert found["missing"][name] == pytest.approx(score)
        assert found["noise"][name] != found["missing"][name]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"methods": ("magic",)}, "there is no method 'magic': choose from pre-training, joint"),
        ({"task": "digits-mlp"}, "the model of digits-mlp is a .*: give a task whose model is"),
        ({"rule": "none"}, "none"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_trained(
    tmp_path: Path, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        modalities_task(replace(SPEC, **wrong), tmp_path / "m", progress=QUIET)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"rates": ()},
        {"rates": (0.0,)},
        {"epochs": 0},
        {"alone_epochs": 0},
        {"patience": 0},
        {"warm_epochs": -1},
        {"methods": ()},
        {"threads": 0},
        {"target": math.nan},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=name):
        replace(SPEC, **wrong)


def test_the_table_has_the_best_method_first(record: dict[str, Any]) -> None:
    found = list(rows(record))
    assert len(found) == len(METHODS) + 2
    scores = [float(row[1].removesuffix(" †")) for row in found]
    assert scores == sorted(scores, reverse=True)
    (ours,) = [row for row in found if row[0] == OURS]
    assert ours[3] == "–"
    assert "cost of the learning-rate search" in next(iter(notes(record)))
    assert any(each.startswith("Trained alone, wide converges after ") for each in notes(record))
    for seed in record["seeds"]:
        seed["alone"]["wide"]["converged"] = None
    told = "Trained alone, wide never converges: its validation loss does not fall."
    assert told in list(notes(record))
    record["seeds"][0]["methods"]["joint"] = {"failed": "the sky fell"}
    (joint,) = [row for row in rows(record) if row[0] == "joint"]
    assert joint[-1] == "1 of 2"
    assert "joint failed with seed 0: the sky fell" in list(notes(record))


def test_the_command_ends_with_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--task",
        "modal_task:TWO",
        "--seeds",
        "0",
        "1",
        "--epochs",
        "2",
        "--alone_epochs",
        "4",
    ]
    words += ["--patience", "2", "--rates", "0.03", "0.1", "--output", str(folder), "--resume"]
    assert main(["modalities", *words]) == 0
    told = capsys.readouterr().out
    assert "pre-training + concatenation" in told
    assert f"folder: {folder}" in told
    assert f"report: {folder / 'report.html'}" in told
    assert "<h1>two: pre-training " in (folder / "report.html").read_text()


def test_pre_training_that_takes_all_is_told() -> None:
    with pytest.raises(UserError, match="use the whole budget of computation"):
        steps_of(10.0, 100.0)


def test_noise_is_like_the_samples_that_have_the_modality() -> None:
    setting = modal_setting(SPEC, 0)

    def lacking(whole: Split) -> Split:
        seen = torch.ones(len(whole), 2, dtype=torch.bool)
        seen[:30, 0] = False
        inputs = {name: x.clone() for name, x in whole.inputs.items()}
        inputs["wide"][:30] = torch.nan
        return Split(inputs | {"present": seen}, whole.targets)

    own = replace(setting, data=setting.data.mapped(lacking))
    network = own.network().eval()
    assert all(math.isfinite(score) for _, score in with_noise(own, network, ("wide", "small")))
    assert math.isfinite(own.evaluated(network)["loss"])
