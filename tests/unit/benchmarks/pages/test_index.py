"""The index of results: complete, and its commands can be run."""

import importlib
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import jsonargparse
import pytest

from benchmarks.common.command_line import list_flags
from benchmarks.common.records import RESULTS, load
from benchmarks.pages import index
from beyondprop import tasks
from beyondprop.cli import app as cli
from beyondprop.cli.parser import with_lists

RECORDS = sorted(RESULTS.glob("**/*.json"))
NAMES = [path.relative_to(RESULTS).with_suffix("").as_posix() for path in RECORDS]


def linked(page: Path) -> set[Path]:
    targets = re.findall(r"\]\(([^)\s#]+)\)", page.read_text("utf-8"))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_every_file_of_results_is_in_the_index() -> None:
    files = {path for path in RESULTS.glob("**/*") if path.is_file()}
    assert files - {RESULTS / "README.md"} <= linked(RESULTS / "README.md")


@pytest.mark.parametrize("topic", sorted(p.name for p in RESULTS.iterdir() if p.is_dir()))
def test_a_topic_links_all_its_files(topic: str) -> None:
    page = RESULTS / topic / "README.md"
    assert {path for path in (RESULTS / topic).iterdir() if path != page} <= linked(page)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_record_parses_and_says_what_was_measured(name: str) -> None:
    check(name, load(name))


COMMANDS = {"modalities": "modalities", "distillation": "distil"}
"""What makes a kind of record that is made seed by seed."""


def check(name: str, record: dict[str, Any]) -> None:
    words = shlex.split(index.repeated(name, record))
    if record["kind"] in COMMANDS:
        command = COMMANDS[record["kind"]]
        assert words[:2] == ["beyondprop", command]
        parsed = cli.parser().parse_args(with_lists(words[1:]))[command]
        spec = record["spec"]
        assert parsed.task == spec["task"]
        assert list(parsed.seeds) == spec["seeds"]
        for setting, value in spec.items():
            said = parsed.get(setting)
            if said is not None and setting != "data":
                assert (list(said) if isinstance(value, list) else said) == value, setting
        return
    if record["kind"] == "audit":
        assert words[:2] == ["beyondprop", "audit"]
        parsed = cli.parser().parse_args(with_lists(words[1:])).audit
        said = parsed.sections
        assert said is None or [*said] == record["spec"]["sections"]
        return
    if record["kind"] == "comparison":
        assert words[0] == "beyondprop"
        parsed = cli.parser().parse_args(with_lists(words[1:]))
        task = parsed.compare.task
        assert tasks.find(task).name == record["task"]["name"]
        return
    if record["kind"] == "scaling":
        assert words[:2] == ["beyondprop", "scale"]
        parsed = cli.parser().parse_args(with_lists(words[1:])).scale
        assert parsed.task == record["family"]
        assert len(record["members"]) == len(parsed.widths or (1,)) * len(parsed.depths or (1,))
        return
    assert words[:2] == ["python", "-m"]
    main = importlib.import_module(words[2]).main
    parsed = jsonargparse.auto_parser(main).parse_args(with_lists(words[3:], list_flags(main)))
    for setting, value in record["spec"].items():
        said = parsed.get(setting)
        if said is not None:  # else the record says what the default came to
            assert (list(said) if isinstance(value, list) else said) == value, setting


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("modalities", "beyondprop modalities --task mfeat-few --epochs 3 --seeds 0 1 --output x"),
        ("distillation", "python -m beyondprop distil --task digits-mlp --seeds 0 1 --resume"),
    ],
)
def test_commands_of_studies_by_seed_are_checked(kind: str, typed: str) -> None:
    task = "mfeat-few" if kind == "modalities" else "digits-mlp"
    spec = {"task": task, "seeds": [0, 1], "data": "given"}
    spec |= {"epochs": 3} if kind == "modalities" else {"teacher_epochs": None}
    record = {"kind": kind, "spec": spec, "provenance": {"command": typed}}
    check(f"{kind}/x", record)
    with pytest.raises(AssertionError):
        check(f"{kind}/x", record | {"spec": spec | {"seeds": [0, 1, 2]}})
    with pytest.raises(AssertionError):
        check(f"{kind}/x", record | {"spec": spec | {"task": "mfeat"}})


def test_what_says_where_it_wrote_is_dropped() -> None:
    typed = "python -m beyondprop compare --task variants:x --output a/b --resume --epochs 3"
    record = {"kind": "comparison", "provenance": {"command": typed}}
    made = index.repeated("comparisons/x", record)
    assert made == "beyondprop compare --task benchmarks.comparisons.tasks:x --epochs 3"
    typed = "python benchmarks/slots_accuracy.py --cases learned 'K=8, sampled' --output=here"
    record = {"kind": "benchmark", "provenance": {"command": typed}}
    made = index.repeated("slots/accuracy-mnist", record)
    assert made == "python -m benchmarks.slots.accuracy --cases learned 'K=8, sampled'"
    typed = "python -m benchmarks.step_time.rules --rounds 40 --output here"
    record = {"kind": "benchmark", "provenance": {"command": typed}}
    made = index.repeated("step_time/rules", record)
    assert made == "python -m benchmarks.step_time.rules --rounds 40"


BENCHMARKS = [name for name in NAMES if load(name)["kind"] == "benchmark"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_table_beside_a_record_shows_its_figures(name: str) -> None:
    """The module that its command runs makes the same table from the record."""
    record = load(name)
    command = shlex.split(index.repeated(name, record))
    make = importlib.import_module(command[2]).table
    given = {**record["spec"], "spec": record["spec"], "rows": record["rows"]}
    made = make(**{parameter: given[parameter] for parameter in inspect.signature(make).parameters})
    beside = (RESULTS / f"{name}.md").read_text("utf-8")
    figures, source = beside.split("\nMade by ")
    assert figures == made.markdown()
    provenance = record["provenance"]
    assert source.startswith(f"`{provenance['command']}` with PyTorch")
    assert source.endswith(
        f"{provenance['finished']}; every figure is in `{name.split('/')[1]}.json`.\n"
    )


def test_commands_of_audits_are_checked() -> None:
    typed = "python -m beyondprop audit runs/a runs/b --sections calibration minima --resume"
    record = {"kind": "audit", "provenance": {"command": typed}}
    check("audit/x", record | {"spec": {"sections": ["calibration", "minima"]}})
    with pytest.raises(AssertionError):
        check("audit/x", record | {"spec": {"sections": ["minima"]}})
