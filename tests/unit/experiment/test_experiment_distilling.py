"""Distillation of a task's network: what each way reaches, and what it is charged."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.progress import Progress

from beyondprop.cli import main
from beyondprop.errors import UserError, install
from beyondprop.experiment import distil_limits, distil_ways
from beyondprop.experiment.by_seed import plain
from beyondprop.experiment.distil_apart import library_of
from beyondprop.experiment.distil_data import drawn_inputs, few, noise
from beyondprop.experiment.distil_lessons import Batches, by_teacher
from beyondprop.experiment.distil_limits import limited
from beyondprop.experiment.distil_setting import setting_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_table import WAYS, notes, ranked
from beyondprop.experiment.distil_ways import redrawn
from beyondprop.experiment.distilling import distil_task, plan_task
from beyondprop.experiment.rates import beyond
from beyondprop.files import finite, read_json, write_json
from beyondprop.jobs import SERIAL, Workers
from beyondprop.neighbourhoods import SoftLabels
from beyondprop.neighbourhoods.cost import cost_of, forward_operations
from beyondprop.neighbourhoods.search import errors
from beyondprop.tasks import Data, find

QUIET = Progress(disable=True)
SPEC = DistilSpec(
    task="digits-conv",
    blocks=(("0", "1", "2", "3", "4"),),
    candidates=({"candidate": "narrower", "share": 0.5}, {"candidate": "narrower", "share": 0.25}),
    budgets=(0.7, 0.001),
    seeds=(0,),
    teacher_epochs=2,
    epochs=1,
    heal_epochs=1,
    rates=(1e-3, 3e-3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("distilled") / "d"
    distil_task(SPEC, made, progress=QUIET)
    return made


@pytest.fixture
def record(folder: Path) -> dict[str, Any]:
    return read_json(folder / "distillation.json") or {}


def test_every_budget_has_an_assembly_or_a_reason(record: dict[str, Any]) -> None:
    (seed,) = record["seeds"]
    first, second = seed["assemblies"]
    assert first["choice"] == {"0": "narrower(share=0.5)"}
    assert 0.3 < first["kept"] < 0.7
    assert "no assembly is within the budget" in second["failed"]
    assert list(first["ways"]) == [
        *("merged", "healed", "end to end, whole", "end to end, shared", "pruned", "scratch"),
    ]
    for way in ("merged", "healed", "pruned"):
        assert first["ways"][way]["score"] > 0.5  # of ten digits


def test_ways_get_the_computation_that_they_are_charged(record: dict[str, Any]) -> None:
    (seed,) = record["seeds"]
    first, costs = seed["assemblies"][0], seed["assemblies"][0]["computation"]
    students = [
        one["training_operations"] for of in seed["students"].values() for one in of.values()
    ]
    forward = [one["cost"]["operations"] for one in seed["students"]["0"].values()]
    rest = seed["teacher"]["operations"] - seed["pieces"]["0"]["operations"]
    data = find("digits-conv").load(None)
    chosen = len(data.validation) * sum(2 * one + rest for one in forward)  # alone, and in place
    assert costs["whole"] == sum(students) + chosen
    assert costs["shared"] == costs["whole"] / 2
    captured = len(data.train) + len(data.validation)
    assert costs["capture"] == captured * seed["teacher"]["operations"]
    ways, passes = first["ways"], -(-len(data.train) // find("digits-conv").batch_size)
    size = len(data.train) / passes  # the last batch of a pass is smaller
    step = costs["healing"] / len(data.train)
    total = costs["healing"] + costs["capture"] + costs["shared"]
    assert ways["healed"]["steps"] == passes
    assert ways["pruned"]["steps"] == ways["scratch"]["steps"] == round(total / step / size)
    before = len(data.train) * seed["teacher"]["operations"]  # the teacher runs once
    assert ways["end to end, shared"]["steps"] == round((total - before) / step / size)
    assert ways["end to end, whole"]["steps"] > ways["end to end, shared"]["steps"]


def test_a_second_call_does_nothing_again(
    folder: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("beyondprop.experiment.distil_attempts.heal", never)
    again = distil_task(SPEC, folder, resume=True, progress=QUIET)
    assert again["seeds"] == record["seeds"]


def test_a_folder_keeps_its_seeds_and_tells_its_sessions(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "d")
    before = (tmp_path / "d" / "distillation.json").read_bytes()
    assert distil_task(SPEC, tmp_path / "d", resume=True, progress=QUIET)
    assert (tmp_path / "d" / "distillation.json").read_bytes() == before
    more = distil_task(replace(SPEC, seeds=(1,)), tmp_path / "d", resume=True, progress=QUIET)
    assert [seed["seed"] for seed in more["seeds"]] == [0, 1]
    assert [each["started"] for each in more["provenance"]["sessions"]]
    assert finite(more["seeds"][0]) == (read_json(folder / "distillation.json") or {})["seeds"][0]


class Killed(BaseException):
    """Represents `kill -9`."""


@pytest.mark.parametrize("write", [1, 9, 14, 19, 24])
def test_a_distillation_killed_at_any_write_is_resumed_to_the_same_result(
    write: int,
    folder: Path,
    record: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    countdown, replaced = write, Path.replace

    def dies(self: Path, target: Path) -> Path:
        nonlocal countdown
        countdown -= 1
        if countdown < 0:
            raise Killed
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(Killed):
        distil_task(SPEC, tmp_path / "d", progress=QUIET)
    monkeypatch.setattr(Path, "replace", replaced)
    over = {each: each.read_bytes() for each in (tmp_path / "d" / "seed-0").rglob("*.json")}
    resumed = distil_task(SPEC, tmp_path / "d", resume=True, progress=QUIET)
    assert resumed["seeds"] == record["seeds"]
    assert all(each.read_bytes() == content for each, content in over.items())
    weights = [f.relative_to(folder) for f in folder.rglob("weights.safetensors")]
    assert len(weights) == 3
    for file in weights:
        assert (folder / file).read_bytes() == (tmp_path / "d" / file).read_bytes()


def test_predicted_assemblies_are_put_together(record: dict[str, Any]) -> None:
    (seed,) = record["seeds"]
    ranking = seed["ranking"]
    assert [each["predicted"] for each in ranking] == sorted(each["predicted"] for each in ranking)
    assert {each["choice"]["0"] for each in ranking} <= {*seed["students"]["0"]}
    whole = seed["teacher"]["validation_loss"]
    for each in ranking:  # of one neighbourhood: what it reaches is what was predicted
        assert each["validation_loss"] == pytest.approx(whole + each["predicted"])


def test_a_rank_correlation_is_told() -> None:
    def seed(*losses: float) -> dict[str, Any]:
        ranking = [{"predicted": i, "validation_loss": loss} for i, loss in enumerate(losses)]
        return {"ranking": ranking}

    assert not [*ranked({"seeds": [seed(1.0, 2.0), seed(1.0, 1.0, 1.0), {}]})]
    (said,) = ranked({"seeds": [seed(1.0, 2.0, 3.0, 4.0), seed(1.0, 3.0, 2.0)]})
    assert said.startswith(
        "Rank correlation (Spearman) of the predicted and the measured validation loss"
    )
    assert "0.75, mean over seeds (3 assemblies or more per seed)." in said


def test_rates_go_on_where_the_best_is_at_an_end() -> None:
    def found(*scores: float) -> dict[float, dict[str, Any]]:
        return {
            float(10**place): {"validation_score": score, "validation_loss": 0.0}
            for place, score in enumerate(scores)
        }

    assert beyond(found(0.1, 0.3, 0.2)) == ()
    assert beyond(found(0.1, 0.2, 0.3)) == (300,)
    assert beyond(found(0.3, 0.2, 0.1)) == pytest.approx((1 / 3,))
    assert beyond({1.0: {"failed": "no"}}) == ()
    assert beyond(found(0.5)) == pytest.approx((1 / 3, 3.0))


def test_batches_come_in_the_same_orders_for_all_ways() -> None:
    train = find("digits-conv").load(None).train
    one, other = Batches(train, 100, 3), Batches(train, 100, 3)
    first, second = ([x for x, _ in one] for _ in range(2))
    assert all(torch.equal(a, b) for a, (b, _) in zip(first, other, strict=True))
    assert not torch.equal(first[0], second[0])
    assert sum(map(len, first)) == len(train)
    assert len(one) == len(first)


def test_scratch_begins_as_the_task_makes_its_model(folder: Path) -> None:
    setting = setting_of(SPEC, 0, folder / "seed-0")
    library = library_of(setting, folder / "seed-0", QUIET, Workers())
    torch.manual_seed(7)
    found = redrawn(setting, library, {"0": "narrower(share=0.5)"})
    torch.manual_seed(7)
    fresh = setting.task.model()
    last = [name for name in fresh.state_dict() if name.startswith("8.")]  # no student's
    assert last
    for name in last:
        assert torch.equal(found.state_dict()[name], fresh.state_dict()[name])
    first = fresh[0].weight.flatten(1)
    for row in found[0][0].weight.flatten(1):  # a channel of a fresh one, not of the teacher
        assert (first - row).abs().sum(1).min() == 0


def test_end_to_end_learns_from_outputs_computed_once_and_from_labels(folder: Path) -> None:
    setting = setting_of(SPEC, 0, folder / "seed-0")
    lessons, size = by_teacher(setting), len(setting.data.train)
    teacher = forward_operations(setting.teacher, setting.sample)
    assert (lessons.before, lessons.extra) == (size * teacher, 0)
    rows = [*Batches(setting.data.train, setting.batch_size, 0).rows()]
    for part, (inputs, (outputs, labels)) in zip(rows, lessons.batches, strict=True):
        x, y = setting.data.train.batch(part)
        assert torch.equal(x, inputs)
        assert torch.equal(y, labels)
        with torch.no_grad():
            torch.testing.assert_close(outputs, setting.teacher(x))
    logits = torch.randn(len(labels), 10)
    mixed = lessons.loss(logits, (outputs, labels))
    expected = SoftLabels()(logits, outputs) + F.cross_entropy(logits, labels)
    torch.testing.assert_close(mixed, expected / 2)


def test_only_healing_follows_the_rule() -> None:
    assert [way.name for way in distil_ways.WAYS if way.ruled] == ["healed"]


def test_threads_and_generators_are_left_as_they_were(folder: Path) -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    for each in (folder / "seed-0" / "whole").rglob("*.json"):
        each.unlink()
    distil_task(SPEC, folder, resume=True, progress=QUIET)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "wrong",
    [
        {"budgets": (1.5,)},
        {"budgets": (0.5, 0.5)},
        {"rates": (0.0,)},
        {"seeds": (1, 1)},
        {"candidates": ()},
        {"epochs": 0},
        {"heal_epochs": -2},
        {"teacher_epochs": 0},
        {"batch_size": -4},
        {"learning_rate": -1.0},
        {"cache_gib": 0.0},
        {"threads": 0},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be"):
        replace(SPEC, **wrong)


def test_an_unknown_rule_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="zzz"):
        distil_task(replace(SPEC, rule="zzz"), tmp_path / "d", progress=QUIET)
    assert not (tmp_path / "d").exists()


def test_budgets_of_one_percent_are_told_apart(folder: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, budgets=(0.654, 0.65), rates=(1e-3,))
    shutil.copytree(folder / "seed-0" / "teacher", tmp_path / "d" / "seed-0" / "teacher")
    write_json(tmp_path / "d" / "spec.json", finite(plain(spec)))
    (seed,) = distil_task(spec, tmp_path / "d", resume=True, progress=QUIET)["seeds"]
    first, second = seed["assemblies"]
    assert (first["budget"], second["budget"]) == (0.654, 0.65)
    assert len([*(tmp_path / "d" / "seed-0" / "whole").iterdir()]) == 2


@pytest.mark.parametrize("limit", ["operations", "parameters", "bytes"])
def test_a_budget_is_a_share_of_what_is_limited(folder: Path, tmp_path: Path, limit: str) -> None:
    setting = setting_of(replace(SPEC, limit=limit), 0, folder / "seed-0")
    library = library_of(setting, shutil.copytree(folder / "seed-0", tmp_path / "0"), QUIET, SERIAL)
    found = limited(setting, library, errors(library), tmp_path)
    costs = asdict(cost_of(setting.teacher, setting.sample))
    assert found.whole == costs[limit]
    for label in ("narrower(share=0.5)", "narrower(share=0.25)"):
        merged = library.merge(setting.teacher, {"0": label})
        budget = asdict(cost_of(merged, setting.sample))[limit] / costs[limit] * (1 + 1e-9)
        assert found.within(budget, 1)[0].choice == {"0": label}
    assert not (tmp_path / "seconds.json").exists()


def test_times_are_measured_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = setting_of(replace(SPEC, limit="seconds"), 0, folder / "seed-0")
    library = library_of(setting, shutil.copytree(folder / "seed-0", tmp_path / "0"), QUIET, SERIAL)
    found = limited(setting, library, errors(library), tmp_path)
    own = found.options["0"]
    assert all(each.costs["seconds"] > 0 for each in own.values())
    monkeypatch.setattr(distil_limits, "measured", None)  # would fail
    again = limited(setting, library, errors(library), tmp_path)
    assert again == found
    budget = sorted(each.costs["seconds"] for each in own.values())[1]
    rest = found.whole - own["teacher"].costs["seconds"]
    assert found.within((budget + rest) / found.whole * (1 + 1e-9), 5)


def test_a_task_without_blocks_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no blocks: give blocks="):
        distil_task(replace(SPEC, blocks=None), tmp_path / "d", progress=QUIET)
    with pytest.raises(UserError, match="'9x' names no module"):
        distil_task(replace(SPEC, blocks=("9x",)), tmp_path / "d", progress=QUIET)
    assert not (tmp_path / "d").exists()


def test_the_command_shows_every_budget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distil", "--config", str(folder / "spec.yaml"), "--output", str(folder)]) == 2
    assert "is not empty; add --resume" in capsys.readouterr().err
    words = ["distil", "--config", str(folder / "spec.yaml"), "--output", str(folder), "--resume"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "end to end, shared" in said
    assert "0%: no assembly is within the budget" in said
    assert f"report: {folder / 'report.html'}" in said
    page = (folder / "report.html").read_text()
    assert "Within 0.1%, no assembly with seed 0: no assembly is within" in page
    assert "one seed supports no comparison" in page
    assert main(["report", str(folder.parent), "--output", str(folder / "again.html")]) == 0
    assert (folder / "again.html").read_text() == page


def test_without_the_report_extra_the_record_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    words = ["distil", "--config", str(folder / "spec.yaml"), "--output", str(folder), "--resume"]
    assert main(words) == 0
    said, warned = capsys.readouterr()
    assert f"no report: the report needs jinja2: {install('report')}" in said
    assert f"then run: beyondprop report {folder}" in said
    assert "the report needs jinja2" in warned  # before the work, too


def test_the_record_says_what_the_pieces_of_the_teacher_cost(record: dict[str, Any]) -> None:
    (seed,) = record["seeds"]
    piece, student = seed["pieces"]["0"], seed["students"]["0"]["narrower(share=0.5)"]["cost"]
    assert piece.keys() == student.keys()
    assert piece["operations"] < seed["teacher"]["operations"]
    assert student["operations"] < piece["operations"]
    assert seed["task"]["metric"] == "accuracy"
    assert seed["task"]["test"] == len(find("digits-conv").load(None).test)


def test_another_distillation_is_not_mixed_in(folder: Path) -> None:
    with pytest.raises(UserError, match="settings"):
        distil_task(replace(SPEC, epochs=2), folder, resume=True, progress=QUIET)


def test_a_dry_run_says_what_it_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = '[["0", "1", "2", "3", "4"]]'
    words = ["--blocks", blocks, "--candidates", "narrower", "fewer-heads", "--epochs", "1"]
    assert main(["distil", "--task", "digits-conv", *words, "--dry-run", "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"0 +narrower +5\d% +\d\d% +\d+ s", said)
    assert "0, fewer-heads: 'fewer-heads'" in said
    assert "Students use all of" in said
    assert "on 2 workers" in said
    assert not [*tmp_path.iterdir()]


DRAWN = replace(SPEC, budgets=(0.7,), samples=24, inputs={"draw": "matched"})


@pytest.fixture(scope="module")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("distilled") / "drawn"
    distil_task(DRAWN, made, progress=QUIET)
    return made


def test_drawn_inputs_leave_out_what_needs_labels(
    drawn_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (seed,) = (read_json(drawn_folder / "distillation.json") or {})["seeds"]
    ((first,), teacher) = seed["assemblies"], seed["teacher"]["operations"]
    ways, costs, data = first["ways"], first["computation"], find("digits-conv").load(None)
    assert not {"healed", "pruned", "scratch"} & {*ways}
    for way in ("merged", "end to end, whole", "end to end, shared"):
        assert ways[way]["score"] > 0.3  # of ten digits
    assert costs["healing"] == 0
    assert costs["capture"] == (24 + len(data.validation)) * teacher
    students = [*seed["students"]["0"].values()]
    training = sum(one["training_operations"] for one in students)
    assert costs["whole"] == costs["shared"] > training
    piece = teacher - 2 * (512 * 64 + 64 * 10)  # the linear layers behind
    for one in students:  # a pass has as many samples as all of the training part
        assert one["training_operations"] > len(data.train) * piece
        assert one["steps"] == -(-len(data.train) // find("digits-conv").batch_size)
    words = ["distil", "--config", str(drawn_folder / "spec.yaml"), "--output", str(drawn_folder)]
    assert main([*words, "--resume"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("–") == 3
    assert "no labels, so nothing is healed, pruned or trained from scratch" in said
    assert "Inputs are drawn by matched: the inputs of each student" in said
    assert "Shapes and moments come from at most 24 " in said
    assert (
        "End to end gets as much computation as capture, students and their choice together" in said
    )


def test_few_samples_are_the_same_for_all_ways(tmp_path: Path) -> None:
    spec = replace(SPEC, budgets=(0.7,), samples=40, rates=(1e-3,), candidates=("narrower",))
    record = distil_task(spec, tmp_path / "few", progress=QUIET)
    (seed,) = record["seeds"]
    ways, costs = seed["assemblies"][0]["ways"], seed["assemblies"][0]["computation"]
    validation = len(find("digits-conv").load(None).validation)
    assert costs["capture"] == (40 + validation) * seed["teacher"]["operations"]
    assert ways["healed"]["steps"] == 1
    step = costs["healing"] / 40  # of a sample, and a batch has all 40
    total = costs["healing"] + costs["capture"] + costs["shared"]
    assert ways["pruned"]["steps"] == round(total / step / 40)
    assert seed["students"]["0"]["narrower"]["steps"] == 1
    assert "Students and whole models use 40 training samples." in [*notes(record)]


def first_thirty(data: Data, seed: int) -> Data:
    del seed
    return replace(data, train=data.train.some(torch.arange(30)))


split_task = replace(find("digits-conv"), split=first_thirty)


def test_data_is_as_a_seed_has_it_before_anything_is_trained(tmp_path: Path) -> None:
    spec = replace(SPEC, task=f"{__name__}:split_task", candidates=("narrower",))
    assert plan_task(spec).samples == 30
    with pytest.raises(UserError, match=r"has 30 training samples, not 31"):
        distil_task(replace(spec, samples=31), tmp_path / "few", progress=QUIET)


def test_few_samples_are_drawn_by_each_seed() -> None:
    data = find("digits-conv").load(None)
    one, again, other = (few(DRAWN, data, seed).train for seed in (0, 0, 1))
    assert len(one) == 24
    assert torch.equal(one.batch(slice(None))[0], again.batch(slice(None))[0])
    assert not torch.equal(one.batch(slice(None))[0], other.batch(slice(None))[0])
    assert few(replace(DRAWN, samples=None), data, 0) is data


def test_noise_is_another_in_each_pass_and_the_same_for_all_ways() -> None:
    data = find("digits-conv").load(None)
    teacher, own = find("digits-conv").model().eval(), drawn_inputs(DRAWN, data)
    assert own is not None
    one, other = (noise(own, data, teacher, 100, 0) for _ in range(2))
    first, second = ([x for x, _ in one] for _ in range(2))
    assert all(torch.equal(a, b) for a, (b, _) in zip(first, other, strict=True))
    assert not torch.equal(first[0], second[0])
    assert len(one) == len(first)
    assert sum(map(len, first)) == len(data.train)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"samples": 1}, "samples must be 2 or more"),
        ({"samples": 10**6}, r"has 1,\d{3} training samples, not 1,000,000: lower samples="),
        ({"inputs": "gausian"}, "unknown draw 'gausian'"),
        ({"inputs": {"draw": "gaussian", "std": 0}}, "std of draw 'gaussian' must be"),
    ],
)
def test_data_that_makes_no_sense_is_refused(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        distil_task(replace(SPEC, **wrong), tmp_path / "d", progress=QUIET)
    assert not [*tmp_path.rglob("teacher")]


def test_a_dry_run_of_drawn_inputs_needs_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--blocks", '[["0", "1", "2", "3", "4"]]', "--candidates", "narrower"]
    words += ["--samples", "24", "--inputs", "{draw: gaussian, std: 2}", "--dry-run"]
    assert main(["distil", "--task", "digits-conv", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Each pass draws 1,\d{3} samples, and none of them are stored\.", said)
    assert "Shapes and moments come from 24 of 24 training samples." in said


def test_ways_that_failed_are_told() -> None:
    told = "the network gets no real numbers"
    ways = {way: {"failed": told} if "end" in way else {"score": 0.5} for way in WAYS}
    assemblies = [{"ways": ways, "kept": 0.5}]
    record = {
        "spec": {"budgets": [0.5], "inputs": "gaussian"},
        "seeds": [{"teacher": {"score": 0.9}, "assemblies": assemblies}],
    }
    assert f"end to end, shared, end to end, whole: {told}." in [*notes(record)]
