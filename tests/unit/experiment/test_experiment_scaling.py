"""A study of scale: which members are trained, what is kept, and what it says."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from experiment_tasks import blob_family
from torch import nn

from beyondprop.cli.parser import spec_of
from beyondprop.cli.scale import parser
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec
from beyondprop.experiment.laws import Points
from beyondprop.experiment.laws_table import answers, laws_table
from beyondprop.experiment.scaling import ahead, compared, gap, scale, studied
from beyondprop.experiment.sizes import Sizes
from beyondprop.experiment.statistics import Interval
from beyondprop.files import read_json, write_json
from beyondprop.jobs import Workers
from beyondprop.report import render_scaling, write_scaling
from beyondprop.report.scaling import compact
from beyondprop.tasks.families import FAMILIES, Layers

FAMILY = "experiment_tasks:blob_family"
SPEC = CompareSpec(
    task=FAMILY,
    rules=("backprop", "dfa", "frozen"),
    seeds=(0, 1, 2, 3),
    learning_rates=(0.01,),
    measure_cost=False,
    measures=(),
    epochs=1,
)
SIZES = Sizes(widths=(8, 2, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scaling") / "s"
    scale(SPEC, SIZES, made)
    return made


@pytest.fixture
def record(folder: Path) -> dict[str, Any]:
    return read_json(folder / "scaling.json") or {}


def test_every_combination_is_a_member_and_the_smallest_comes_first() -> None:
    sizes = Sizes(widths=(8, 2), samples=(30, 60))
    assert sizes.members(FAMILY) == [
        {"task": FAMILY, "width": width, "samples": samples}
        for width in (2, 8)
        for samples in (30, 60)
    ]
    given = {"task": FAMILY, "depth": 3}
    assert Sizes(widths=(2,)).members(given) == [{"task": FAMILY, "depth": 3, "width": 2}]


@pytest.mark.parametrize("wrong", [(2, 2), (0, 2)])
def test_sizes_are_different_numbers_from_one_on(wrong: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="widths must be different whole numbers"):
        Sizes(widths=wrong)


def test_each_run_has_its_size_cost_and_loss(record: dict[str, Any]) -> None:
    runs = {(run["size"], run["rule"], run["seed"]): run for run in record["runs"]}
    for width in (2, 4, 8):
        found = runs[f"{FAMILY}(width={width})", "backprop", 1]
        assert found["parameters"] == sum(
            p.numel() for p in blob_family(width).model().parameters()
        )
        assert (found["samples"], found["status"]) == (60, "finished")
        assert found["loss"] > 0
        assert found["seconds"] > 0
        direct = runs[f"{FAMILY}(width={width})", "dfa", 1]
        assert 0 < direct["operations"] < found["operations"]
        assert direct["parameters"] == found["parameters"]
    assert runs[f"{FAMILY}(width=2)", "frozen", 1]["operations"] is None  # it is solved


def test_operations_are_those_of_all_steps(record: dict[str, Any]) -> None:
    """Of backprop by hand: forward, weight gradient, and signal but for the first layer."""
    found = next(r for r in record["runs"] if "width=8" in r["size"] and r["rule"] == "backprop")
    task = blob_family(8)
    batch, steps = task.batch_size, -(-60 // task.batch_size)
    first, rest = 4 * 8, 8 * 8 + 8 * 3
    assert found["operations"] == steps * batch * 2 * (2 * first + 3 * rest)


def test_the_laws_are_along_parameters_and_computation(record: dict[str, Any]) -> None:
    for axis in ("parameters", "operations"):
        assert record["laws"][axis]["backprop"]["runs"] == 12
        against = record["against"][axis]["dfa"]
        assert len(against["places"]) == len(against["ratios"]) == 9
        assert against["gap"] in ("closes", "opens", "not resolved")
    assert "too few" in record["laws"]["samples"]["backprop"]["reason"]
    assert "backprop" not in record["against"]["parameters"]
    told = " ".join(answers(record))
    assert told.startswith("dfa: ")
    assert "frozen" not in told
    assert laws_table(record, "parameters") is not None
    assert laws_table(record, "samples") is None


def test_a_study_grows_by_sizes_and_keeps_what_is_finished(tmp_path: Path) -> None:
    two = Sizes(widths=(2, 4))
    scale(SPEC, two, tmp_path / "s")
    kept = {p: p.read_bytes() for p in (tmp_path / "s").glob("*/runs/*/weights.safetensors")}
    more = scale(SPEC, Sizes(widths=(8,)), tmp_path / "s", resume=True)
    assert len({run["size"] for run in more["runs"]}) == 3
    assert kept
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_workers_find_the_same_figures(record: dict[str, Any], tmp_path: Path) -> None:
    found = scale(SPEC, SIZES, tmp_path / "s", workers=Workers(jobs=2))

    def untimed(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in run.items() if k != "seconds"} for run in runs]

    assert untimed(found["runs"]) == untimed(record["runs"])
    for axis in ("parameters", "operations", "samples"):
        assert found["laws"][axis] == record["laws"][axis]


def test_the_page_says_what_was_found(record: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    page = render_scaling(record)
    for sentence in answers(record):
        assert sentence.replace("'", "&#39;") in page
    assert page.count("<svg") >= 3
    assert write_scaling(folder, tmp_path / "page.html").read_text() == page
    with pytest.raises(UserError, match=r"holds no scaling\.json"):
        write_scaling(tmp_path, tmp_path / "none.html")


def test_places_are_written_in_few_characters() -> None:
    assert [compact(x) for x in (0.5, 30, 3e3, 4e7, 1e9, 1e12)] == [
        *("0.5", "30", "3k", "40M", "1G", "1e+12")
    ]
    page = render_scaling({"family": "f", **studied(made_runs({"backprop": 0.1, "dfa": 0.05}))})
    assert "mathdefault" not in page


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


def test_what_a_gap_does() -> None:
    above, below = [interval(1.1, 1.3)] * 3, [interval(0.7, 0.9)] * 3
    assert gap(interval(0.01, 0.03), above) == "closes"
    assert gap(interval(-0.03, -0.01), above) == "opens"
    assert gap(interval(0.01, 0.03), below) == "opens"
    assert gap(interval(-0.01, 0.03), above) == "not resolved"
    assert gap(interval(0.01, 0.03), [above[0], below[0]]) == "crosses"


def test_who_is_ahead() -> None:
    above, between, below = interval(1.1, 1.3), interval(0.9, 1.3), interval(0.7, 0.9)
    assert ahead([above, above]) == "never"
    assert ahead([above, below]) == "somewhere"
    assert ahead([above, between]) == "not resolved"


def made_runs(rules: dict[str, float], status: str = "finished") -> list[dict[str, Any]]:
    """Return runs of rules whose losses fall with these exponents."""
    return [
        {
            "size": f"w{width}",
            "rule": rule,
            "seed": seed,
            "status": status,
            "parameters": width,
            "samples": 60,
            "operations": 100 * width,
            "seconds": 1.0 * width,
            "loss": (3 if rule == "dfa" else 2) * width**-exponent * (1 + 0.001 * seed),
            "score": 0.5,
        }
        for rule, exponent in rules.items()
        for width in (10, 100, 1000)
        for seed in range(4)
    ]


def test_known_laws_give_known_answers() -> None:
    closing = {"family": "f", **studied(made_runs({"backprop": 0.1, "dfa": 0.15}))}
    found = closing["against"]["parameters"]["dfa"]
    assert found["exponent"][0] == pytest.approx(0.05)
    assert (found["gap"], found["ahead"]) == ("closes", "not resolved") or found["ahead"] == "never"
    opening = {"family": "f", **studied(made_runs({"backprop": 0.1, "dfa": 0.05}))}
    assert opening["against"]["parameters"]["dfa"]["gap"] == "opens"
    assert opening["against"]["operations"]["dfa"]["ahead"] == "never"
    told = list(answers(opening))
    assert "opens" in told[0]
    assert "never ahead" in told[0]


def test_a_larger_linear_model_hides_no_law_along_samples() -> None:
    runs = [
        run | {"samples": run["parameters"], "parameters": 50} for run in made_runs({"dfa": 0.1})
    ]
    runs += [run | {"rule": "linear", "parameters": 900} for run in runs]
    assert studied(runs)["laws"]["samples"]["dfa"]["runs"] == 12


def test_runs_that_diverged_are_named() -> None:
    runs = made_runs({"backprop": 0.1, "dfa": 0.1})
    runs[-1] |= {"status": "diverged", "loss": None}
    record = {"family": "f", **studied(runs)}
    assert record["laws"]["parameters"]["dfa"]["runs"] == 11
    assert "1 of dfa" in list(answers(record))[-1]


def test_ranges_that_do_not_meet_are_not_compared() -> None:
    import numpy as np

    units = tuple((f"w{i // 4}", i % 4) for i in range(12))
    x = np.repeat([1.0, 2.0, 3.0], 4)
    first, second = Points(x, 1 / x, units), Points(100 * x, 1 / x, units)
    assert "do not overlap" in compared(first, second)["reason"]
    other = Points(x, 1 / x, tuple((f"v{i // 4}", i % 4) for i in range(12)))
    assert "no runs in common" in compared(first, other)["reason"]


@pytest.mark.parametrize("name", FAMILIES)
def test_families_have_the_size_that_is_asked_for(name: str) -> None:
    task = FAMILIES[name](width=16, depth=2, samples=1000)
    assert task.name.endswith("-w16-d2-n1000")
    whole = FAMILIES[name]()
    assert task.epochs > whole.epochs
    with pytest.raises(UserError, match="takes a width"):
        FAMILIES[name](samples=10**6)


@pytest.mark.parametrize("name", ["scaled-fashion-small", "scaled-fashion"])
def test_families_of_linear_layers(name: str) -> None:
    model = FAMILIES[name](width=16, depth=2).model()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [module.out_features for module in linear] == [16, 16, 10]


def test_the_family_of_decoders() -> None:
    task = FAMILIES["scaled-shakespeare"](width=48, depth=3)
    model: Any = task.model()
    assert len(model.layers) == 3
    assert model.layers[0].attention.heads == 3
    assert model.layers[0].down.out_features == 48
    for width in (0, 24):
        with pytest.raises(UserError, match="a width of 16, 32"):
            FAMILIES["scaled-shakespeare"](width=width)


def test_a_study_without_backprop_has_laws_and_no_comparison(
    record: dict[str, Any], tmp_path: Path
) -> None:
    alone = studied([run for run in record["runs"] if run["rule"] == "dfa"])
    assert "exponent" in alone["laws"]["parameters"]["dfa"]
    assert alone["against"]["parameters"] == {}
    made = record | alone
    assert laws_table(made, "parameters") is not None
    assert list(answers(made)) == []
    write_json(tmp_path / "scaling.json", made)
    assert "exponent" in write_scaling(tmp_path, tmp_path / "s.html").read_text().lower()


def test_controls_have_laws_along_what_means_something(record: dict[str, Any]) -> None:
    laws = record["laws"]
    assert "frozen" in laws["parameters"]
    assert not {"frozen", "linear"} & {*laws["seconds"], *laws["operations"]}
    assert "linear" not in laws["parameters"]


def test_a_study_of_another_family_is_not_mixed_in(folder: Path) -> None:
    other = replace(SPEC, task={"task": FAMILY, "depth": 2})
    with pytest.raises(UserError, match=r"contains a study of .*, not of"):
        scale(other, SIZES, folder, resume=True)


def test_a_refused_study_leaves_the_settings_of_the_one_that_is_there(folder: Path) -> None:
    before = (folder / "spec.yaml").read_bytes()
    with pytest.raises(UserError, match="resume"):
        scale(replace(SPEC, task="scaled-fashion-small"), SIZES, folder)
    assert (folder / "spec.yaml").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_the_folder_is_the_studys_until_its_summary_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "s")
    monkeypatch.setattr("beyondprop.jobs.lock.PATIENCE", 0.0)
    refused = []

    def at_last(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        with pytest.raises(UserError, match="another process works in") as found:
            scale(SPEC, Sizes(), tmp_path / "s", resume=True)
        refused.append(found)
        return studied(runs)

    monkeypatch.setattr("beyondprop.experiment.scaling.studied", at_last)
    scale(SPEC, Sizes(), tmp_path / "s", resume=True)
    assert refused


def test_a_study_is_continued_without_naming_its_sizes(
    folder: Path, record: dict[str, Any]
) -> None:
    again = scale(SPEC, Sizes(), folder, resume=True)
    assert [run["size"] for run in again["runs"]] == [run["size"] for run in record["runs"]]
    assert again["laws"]["parameters"] == record["laws"]["parameters"]


def test_a_loss_without_a_logarithm_leaves_its_rule_alone_without_a_law(
    record: dict[str, Any],
) -> None:
    runs = [run | {"loss": -0.5 if run["rule"] == "dfa" else run["loss"]} for run in record["runs"]]
    found = studied(runs)
    assert "has no logarithm" in found["laws"]["parameters"]["dfa"]["reason"]
    assert "exponent" in found["laws"]["parameters"]["backprop"]
    assert "has no logarithm" in found["against"]["parameters"]["dfa"]["reason"]


def test_searches_that_ended_at_an_edge_are_told(record: dict[str, Any]) -> None:
    assert not any(run["edge"] for run in record["runs"])
    assert not any("ended at the edge" in each for each in answers(record))
    record["runs"][0]["edge"] = True
    assert any("ended at the edge" in each for each in answers(record))


@pytest.mark.parametrize("samples", [40, 129, 1000])
def test_members_take_about_as_many_steps(samples: int) -> None:
    task, whole = (FAMILIES["scaled-fashion-small"](samples=n) for n in (samples, None))
    steps = [each.epochs * -(-n // each.batch_size) for each, n in ((task, samples), (whole, 4000))]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)


def test_epochs_do_not_go_with_several_numbers_of_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="epochs= can't be combined with"):
        scale(SPEC, Sizes(samples=(30, 60)), tmp_path / "s")


def test_a_studys_settings_make_it_again(folder: Path) -> None:
    text = (folder / "spec.yaml").read_text()
    assert text.startswith("# All settings of a scaling study. To make it again: beyondprop scale")
    settings = yaml.safe_load(text)
    assert settings["widths"] == [2, 4, 8]
    assert settings["task"] == FAMILY
    given = parser().parse_args(["--config", str(folder / "spec.yaml")])
    assert spec_of(CompareSpec, given).rules == SPEC.rules
    assert spec_of(Sizes, given) == Sizes(widths=(2, 4, 8))


def test_a_study_tells_how_it_was_made(record: dict[str, Any]) -> None:
    assert record["provenance"]["finished"] >= record["provenance"]["started"]
    assert record["provenance"]["versions"]["torch"] == torch.__version__


def test_the_embedded_family_has_the_first_samples() -> None:
    data = FAMILIES["scaled-fashion-small"](samples=100).load(None)
    whole = FAMILIES["scaled-fashion-small"]().load(None)
    assert torch.equal(data.train.batch(slice(100))[0], whole.train.batch(slice(100))[0])
    assert len(data.test) == len(whole.test)
    assert Layers(196, 8, 3)()(data.test.batch(slice(2))[0]).shape == (2, 10)


def test_rules_of_a_resumed_study_are_kept(folder: Path, record: dict[str, Any]) -> None:
    again = scale(replace(SPEC, rules=("backprop",)), SIZES, folder, resume=True)
    assert {run["rule"] for run in again["runs"]} == {run["rule"] for run in record["runs"]}
