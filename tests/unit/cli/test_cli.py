"""The command line, in this process where that is enough, as a real process where it matters."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import pytest

from beyondprop.cli.app import COMMANDS, main, parsed, parser
from beyondprop.cli.listing import lists
from beyondprop.cli.parser import spec_of, with_lists
from beyondprop.errors import install
from beyondprop.experiment import CompareSpec, RunSpec
from beyondprop.jobs import Workers

TASKS = Path(__file__).parents[1] / "experiment"
SMALL = ["--epochs", "2", "--batch-size", "30"]
BLOBS = ["--task", "experiment_tasks:BLOBS"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to work in, where `experiment_tasks` can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TASKS))
    return tmp_path


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says when it exits with code 2."""
    try:
        code: object = main(argv)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in said
    assert said.startswith("beyondprop")
    assert said.count("\n") == 1, said
    return said


def search_path() -> str:
    """Where a child looks for modules: for the tests' tasks first."""
    return os.pathsep.join([str(TASKS), *filter(None, [os.environ.get("PYTHONPATH")])])


def child(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "beyondprop", *words],
        env=os.environ | {"PYTHONPATH": search_path(), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
    )


# What people type ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("compare --seeds 0 1 2 --epochs 3", "compare --seeds=[0, 1, 2] --epochs 3"),
        ("compare --seeds 0,1", "compare --seeds=[0, 1]"),
        ("compare --seeds=4", "compare --seeds=[4]"),
        ("compare --seeds [4,5]", "compare --seeds=[4,5]"),
        ("compare --learning-rates 1e-3 .1", "compare --learning_rates=[1e-3, .1]"),
        ("compare --rules dfa fa,drtp", 'compare --rules=["dfa", "fa", "drtp"]'),
        ("compare --rules fa --seeds 1 --rules dfa", 'compare --rules=["fa", "dfa"] --seeds=[1]'),
        ("compare --rules fa,{dfa:{a:1,b:2}}", 'compare --rules=["fa", {dfa:{a:1,b:2}}]'),
        ("check a.b:C --blocks stem layers.* 0", 'check a.b:C --blocks=["stem", "layers.*", "0"]'),
        ("train --batch-size 3 --data a-b", "train --batch_size 3 --data a-b"),
        ("compare --rules --resume", "compare --rules --resume"),
        ("train --resume", "train --resume"),
        ("scale --samples 10 20", "scale --samples=[10, 20]"),
        ("distil --samples 10 --seeds 1 2", "distil --samples 10 --seeds=[1, 2]"),
    ],
)
def test_lists_are_read_as_people_type_them(typed: str, read: str) -> None:
    assert " ".join(with_lists(typed.split())) == read


def test_flags_and_yaml_make_the_same_spec(here: Path) -> None:
    (here / "compare.yaml").write_text(
        "task: mine:task\nrules: [dfa, fa]\nseeds: [3, 4]\nlearning_rates: [1e-3, 0.1]\n"
        "epochs: 7\nblocks: ['0', 'layers.*']\nmeasure_cost: false\ndata: some/folder\n"
    )
    flags = (
        "compare --task mine:task --rules dfa fa --seeds 3 4 --learning-rates 1e-3 0.1 --epochs 7 "
        "--blocks 0 layers.* --measure-cost false --data some/folder"
    )
    made = [
        spec_of(CompareSpec, parser().parse_args(with_lists(words.split())).compare)
        for words in (flags, "compare --config compare.yaml")
    ]
    assert made[0] == made[1]
    assert made[0] == CompareSpec(
        task="mine:task",
        rules=("dfa", "fa"),
        seeds=(3, 4),
        learning_rates=(0.001, 0.1),
        epochs=7,
        blocks=("0", "layers.*"),
        measure_cost=False,
        data=Path("some/folder"),
    )


def test_rules_with_arguments_are_read_alike_everywhere(here: Path) -> None:
    rule = {"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}
    text = "{rule: dfa, projection: {hadamard: {rounds: 2}}}"
    (here / "run.yaml").write_text("rule:\n  rule: dfa\n  projection:\n    hadamard: {rounds: 2}\n")
    (here / "compare.yaml").write_text(f"rules: [backprop, 'my.rules:Mine', {text}]\n")
    for words in (["--rule", text], [f"--rule={text}"], ["--config", "run.yaml"]):
        made = spec_of(RunSpec, parser().parse_args(with_lists(["train", *words])).train)
        assert made == RunSpec(rule=rule)
    for words in (
        ["--rules", f"backprop,my.rules:Mine,{text}"],
        ["--rules", "backprop", "my.rules:Mine", text],
        ["--config", "compare.yaml"],
    ):
        made = spec_of(CompareSpec, parser().parse_args(with_lists(["compare", *words])).compare)
        assert made == CompareSpec(rules=("backprop", "my.rules:Mine", rule))


def test_flags_win_over_yaml(here: Path) -> None:
    (here / "run.yaml").write_text("rule: fa\nseed: 3\n")
    words = ["train", "--config", "run.yaml", "--seed", "5"]
    made = spec_of(RunSpec, parser().parse_args(words).train)
    assert made == RunSpec(rule="fa", seed=5)


def test_defaults_are_those_of_the_specs() -> None:
    assert spec_of(RunSpec, parser().parse_args(["train"]).train) == RunSpec()
    assert spec_of(CompareSpec, parser().parse_args(["compare"]).compare) == CompareSpec()


# Help ---------------------------------------------------------------------------------------------


def helped(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped([command, "--help"], capsys)
    assert COMMANDS[command].HELP in text
    assert f"Example: beyondprop {command}" in text
    assert COMMANDS[command].HELP in helped(["--help"], capsys)


@pytest.mark.parametrize(
    ("command", "spec"), [("train", RunSpec), ("compare", CompareSpec), ("compare", Workers)]
)
def test_help_explains_every_field(
    command: str, spec: type, capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped([command, "--help"], capsys)
    for field in spec.__dataclass_fields__:
        help_of_field = re.search(rf"--{field} \S+ ([A-Z].*?)\.( |$)", text)
        assert help_of_field, f"--{field} is not explained"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_typed(command: str) -> None:
    example = COMMANDS[command].parser().epilog.removeprefix("Example: beyondprop ")
    parser().parse_args(with_lists(example.replace("'", "").split()))


def test_help_has_no_types_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        text = helped([command, "--help"], capsys)
        assert not re.search(r"type:|\bnull\b|tuple\[|Optional|\bstr\b|\|", text), command
    assert "Default: fashion-small." in helped(["compare", "--help"], capsys)
    assert "{candidate: narrower, share: 0.75}" in helped(["distil", "--help"], capsys)


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], ["--version"], ["--sed"]])
def test_help_and_refusals_do_not_wait_for_torch(words: list[str]) -> None:
    code = (
        "import sys; from beyondprop.cli import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit: pass\nprint('torch' in sys.modules, file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert shown.stderr.splitlines()[-1] == "False"


def test_what_is_the_same_for_people_is_the_same_for_the_command() -> None:
    words = ["compare", "--rule", "backprop", "--rule", "dfa", "--lr", "0.1", "--no-measure-cost"]
    made = spec_of(CompareSpec, parsed(words).compare)
    assert made == CompareSpec(rules=("backprop", "dfa"), learning_rates=(0.1,), measure_cost=False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped(["--version"], capsys) == f"beyondprop {version('beyondprop')}"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Begin with: beyondprop compare" in helped([], capsys)


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    found = capsys.readouterr().out
    for title in (
        "rules",
        "tasks",
        "projections",
        "measures",
        "schedules",
        "photonic devices",
        "devices",
    ):
        assert title in found.splitlines()
    for name in (
        "backprop",
        "fa",
        "dfa",
        "drtp",
        "frozen",
        "digits-mlp",
        "dense",
        "alignment",
        "joint",
        "lighton-opu",
        "cpu",
    ):
        assert re.search(rf"^  {name} +\w.{{15,}}$", found, re.MULTILINE), name


def test_lists_have_whole_lines() -> None:
    for title, lines in lists().items():
        for name, line in lines.items():
            assert line, (title, name)
            assert not re.search(r"^Return |\b(and|by|for|of|the|with)$|,$", line), (title, name)


def test_list_shows_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "dfa", "hadamard", "dgl", "experiment_rules:Signs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rule dfa: Direct feedback alignment: the output error")
    assert lines[1] == "  arguments: projection"
    assert lines[3] == "  arguments: seed, shared, rounds"
    assert [line.split()[0] for line in lines[4:8:2]] == ["rule", "objective"]
    assert lines[-2].startswith("rule experiment_rules:Signs: The signs of the output error")
    assert lines[-1] == "  arguments: projection, scale"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("photonic", ["  device:", "    camera: Camera(photons=1000.0, shot_noise=True,"]),
        ("lighton-opu", ["  encoder: Ternary(threshold=0.75)", "  camera: Camera(photons=1000.0,"]),
        ("ideal", ["  encoder: Exact()"]),
        ("Camera", ["  arguments: photons, shot_noise,"]),
        (
            "from_csv",
            ["{task: from_csv, path: FILE.csv, target: COLUMN}", "  arguments: path,"],
        ),
        ("from_folder", ["{task: from_folder, path: FOLDER}", "  arguments: path, size"]),
        ("immediate", ["schedule immediate: Each block learns within"]),
        ("joint", ["balance joint: ", "schedule joint: Blocks learn after"]),
        ("opu", ["device opu: a simulated photonic co-processor"]),
        ("gaussian", ["draw gaussian: "]),
        ("narrower", ["candidate narrower: "]),
        pytest.param(
            "tensorboard",
            ["tracker tensorboard: "],
            marks=pytest.mark.skipif(
                find_spec("tensorboard") is None, reason="needs the extra track"
            ),
        ),
    ],
)
def test_list_answers_names_of_every_kind(
    name: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", name]) == 0
    found = capsys.readouterr().out
    assert [each for each in told if each not in found] == []


@pytest.mark.parametrize("title", [*lists(), "photonic-devices", "objectives", "candidates"])
def test_list_shows_one_list(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    whole = capsys.readouterr().out
    assert main(["list", title]) == 0
    found = capsys.readouterr().out
    assert found.splitlines()[0] == title.replace("-", " ")
    assert len(found.splitlines()) > 1
    if title in lists():
        assert found in f"{whole}\n"


def test_list_says_that_a_function_is_none_of_the_kinds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "json:dumps"]) == 0
    title, arguments, kinds = capsys.readouterr().out.splitlines()
    assert title.startswith("function json:dumps: Serialize")
    assert arguments.startswith("  arguments: obj, skipkeys, ")
    assert kinds.startswith("  It is none of these itself, but may return one: rule, task, ")


def test_list_says_how_tasks_of_files_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "{task: from_csv, path: FILE.csv, target: COLUMN}" in capsys.readouterr().out


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("trian", "there is no command 'trian'; there are train, "),
        ("trian", "did you mean 'train'?"),
        (
            "train --sed 1",
            "there is no option --sed; did you mean '--seed'?; see beyondprop train --help",
        ),
        ("train --Rule fa", "there is no option --Rule; did you mean '--rule'?"),
        ("train --rule DFA", "did you mean 'dfa'?"),
        ("train --rule DirectFeedbackAlignment", "did you mean 'dfa'? There are backprop"),
        ("train --rules dfa fa", "unrecognized arguments: fa"),
        ("train --schedule Joint", "did you mean 'joint'?"),
        ("list DFA", "did you mean 'dfa'?"),
        ("train --seed x", "--seed expects a whole number, not 'x'"),
        ("train --learning-rate fast", "--learning_rate expects a number, not 'fast'"),
        ("compare --seeds 0 x", "--seeds expects a whole number, not 'x'"),
        ("compare --measure_cost maybe", "--measure_cost expects true or false, not 'maybe'"),
        ("compare --rules", "argument --rules: expected one argument"),
        (
            "report",
            "beyondprop report: the following arguments are required: FOLDER; see beyondprop "
            "report --help",
        ),
        (
            "project --device lighton",
            "beyondprop project: the following arguments are required: --inputs, --outputs; see "
            "beyondprop project --help",
        ),
        ("audit", "beyondprop audit: the following arguments are required: RUN; see"),
        ("track", "beyondprop track: the following arguments are required: FOLDER; see"),
        ("check --rule dfa", "beyondprop check: the following arguments are required: MODEL; see"),
        ("train --config missing.yaml", "File does not exist"),
        ("train --epochs 0", "beyondprop: --epochs must be at least 1, not 0"),
        ("train --rule dfb", "unknown rule 'dfb'"),
        ("train --task digit-mlp", "digits-mlp"),
        ("train --task nowhere:task", "nowhere"),
        ("train --task mnist-mlp --data missing", "missing"),
        ("train --task experiment_tasks:MISFIT", "does not fit its data: inputs (16, 4) float32"),
        ("train --task experiment_tasks:WRONG_CLASSES", "targets (16,) int64"),
        ("train --task experiment_tasks:BROKEN", "the load of task broken failed: KeyError: None"),
        ("train --device meta", "device 'meta' has shapes"),
        ("list from_csb", "did you mean 'from_csv'?"),
        ("list Camara", "did you mean 'Camera'?"),
        ("train --device lighton-opu", "to project by light, set the rule's projection, as in {"),
        ("train --device opu", "to project by light, set the rule's projection, as in {"),
        ("project --inputs 9 --outputs 9 --device lighton-op", "did you mean 'lighton-opu'?"),
        ("train --device CPU", "cannot be used here, since PyTorch has none; did you mean 'cpu'?"),
        ("project --inputs 9 --outputs 9 --device CPU", "no device 'CPU'; did you mean 'cpu'?"),
        ("--verison", "there is no option --verison; did you mean '--version'?; see beyondprop --"),
        ("train --seed 99999999999999999999", "--seed must be between 0 and 2**63 - 1, not 999"),
        ("compare --seeds 0 99999999999999999999", "--seeds must be between 0 and 2**63 - 1, not"),
        ("tune --seed 99999999999999999999", "--seed must be between 0 and 2**63 - 1, not 999"),
        ("distil --seeds 99999999999999999999", "--seeds must be between 0 and 2**63 - 1, not"),
        ("modalities --seeds=-1", "--seeds must be between 0 and 2**63 - 1, not -1"),
        ("train --epochs 1e1", "--epochs expects a whole number, not '1e1'"),
        ("compare --seeds 0 1e1", "--seeds expects a whole number, not '1e1'"),
        ("train --epochs=1.50", "--epochs expects a whole number, not '1.50'"),
        ("train --task digit-mlp", "digits-mlp'? There are fashion-small, fashion-small-vit, "),
        ("train --task digit-mlp", "cifar-resnet20, ...; beyondprop list tasks shows all\n"),
        ("list rule", "photonic devices, schedules, devices: beyondprop list shows them; did you "),
        ("list scheduls", "did you mean 'schedules'?"),
        ("list torch.nn:Linear", "torch.nn:Linear is a class, but not one of these: rule, task, "),
        ("check digits-mlp --data missing", "the folder missing does not exist: correct --data"),
        ("train --device abacus", "device 'abacus' cannot be used here"),
        ("list dfb", "there is no 'dfb' among the rules, tasks, projections, objectives"),
        ("train --rule no_module:Rule", "there is no module 'no_module'"),
        ("train --rule experiment_rules:Ones", "is a class, but not a Rule"),
        ("train --rule {rule:dfa}", "with a space after each colon"),
        ("check digits-mlp --rule {dfa:{a:1}}", "not as '{dfa:{a:1}}', with a space after each"),
        ("compare --rules dfa dfb", "unknown rule 'dfb'"),
        ("compare --seeds 1000", "--tuning_seed 1000 is one of the seeds"),
        ("report missing", "missing"),
        ("check digits-mlp --rule dfb", "unknown rule 'dfb'"),
        ("check nowhere:Model", "nowhere"),
        ("check nowhere:Model --input x", "--input"),
        ("project --inputs 9", "the following arguments are required: --outputs"),
        ("project --inputs x --outputs 9", "--inputs expects a number, not 'x'"),
        ("project --inputs 1.5 --outputs 9", "--inputs must be a whole number of at least 1"),
        ("project --inputs 1e99 --outputs 9", "--inputs must be a whole number"),
        ("project --inputs 9 --outputs 9 --batch 0", "--batch must be a whole number of at least"),
        ("project --inputs 9 --outputs 9 --kind dens", "unknown kind 'dens'; there are dense, "),
        ("project --inputs 9 --outputs 9 --kind redrawn", "unknown kind 'redrawn'"),
        ("project --inputs 9 --outputs 9 --seed -1", "--seed must be from 0"),
        ("project --inputs 9 --outputs 9 --threads 0", "--threads must be from 1"),
        ("project --inputs 9 --outputs 9 --watts 0", "--watts must be a number above 0"),
        ("project --inputs 9 --outputs 9 --device abacus", "device 'abacus' cannot be used here"),
        ("project --inputs 2e12 --outputs 9", "widths are whole numbers from 1 to 2^40"),
        ("project --inputs 9 --outputs 9 --memory 10", "no projection from 9 to 9 numbers"),
        ("project --inputs nan --outputs 9", "--inputs expects a number, not 'nan'"),
        ("project --inputs 9 --outputs inf --device opu", "--outputs expects a number, not 'inf'"),
        ("project --inputs 2e6 --outputs 9 --device opu", "1 to 1,039,680 inputs, not 2,000,000"),
        ("project --inputs 9 --outputs 3e6 --device opu", "1 to 2,073,600 outputs, not 3,000,000"),
        ("project --inputs 9 --outputs 9 --device opu --kind dens", "unknown kind 'dens'"),
        ("project --inputs 9 --outputs 9 --device opu --watts nan", "--watts expects a number"),
        ("check experiment_tasks:Nothing", "has no 'Nothing'"),
        ("check experiment_tasks:not_a_model", "is of type int, not a torch.nn.Module"),
        ("check experiment_tasks:sgd", "building experiment_tasks:sgd failed: TypeError"),
        ("check experiment_tasks:scaled_network --rule fa", "FeedbackAlignment cannot cover"),
    ],
)
def test_a_mistake_is_one_sentence(
    typed: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(typed.split(), capsys)
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [["--output", ""], ["--output="], ["--data", ""]])
@pytest.mark.parametrize("command", ["train", "compare"])
def test_an_empty_path_is_not_the_current_folder(
    command: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = words[0].removesuffix("=")
    assert f"{flag} is empty: give a path" in refused([command, *words], capsys)
    assert not list(here.iterdir())


def test_an_empty_argument_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--output is empty" in refused(["report", "runs", "--output", ""], capsys)
    assert "an argument is empty" in refused(["report", ""], capsys)


REFUSED = {
    "train": "--task digits-mlp",
    "compare": "--task digits-mlp",
    "scale": "--task scaled-fashion-small --widths 8",
    "distil": '--task digits-conv --seeds 0 --budgets 0.7 --blocks [["0","1","2","3","4"]]',
    "modalities": "--task mfeat-few --seeds 0",
    "tune": "--task digits-mlp --rule dfa",
}
"""A call of each command for a task with embedded data."""


@pytest.mark.parametrize("command", REFUSED)
def test_a_refused_call_leaves_nothing(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, *REFUSED[command].split(), "--data", "missing"]
    if command == "tune":
        pytest.importorskip("optuna", reason="needs the extra tune")
    assert main(words) == 2
    assert "the folder missing does not exist: correct --data" in capsys.readouterr().err
    assert not list(here.iterdir())


def test_a_run_that_fails_in_its_first_step_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", *BLOBS, *SMALL, "--output", "mine/run", "--rule"]
    broken = [*words, "experiment_rules:BreaksInTraining"]
    assert main(broken) == 2
    assert "the training of task blobs failed: KeyError" in capsys.readouterr().err
    assert not list(here.iterdir())
    (here / "mine" / "run").mkdir(parents=True)
    assert main(broken) == 2
    assert list(here.rglob("*")) == [here / "mine", here / "mine" / "run"]
    assert main([*words, "dfa"]) == 0  # the same command after the mend


def test_a_rule_that_breaks_when_it_is_attached_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "{rule: experiment_rules:Breaks, where: start}"
    said = refused(["check", "experiment_tasks:network", "--rule", rule], capsys)
    assert "attaching the rule breaks-in-start failed: KeyError" in said
    said = refused(["train", "--task", "experiment_tasks:BLOBS", "--rule", rule], capsys)
    assert "attaching the rule breaks-in-start failed: KeyError" in said
    assert not list(here.iterdir())


OWN_RULE = """
from beyondprop.core import SignalRule, Traits

class Mine(SignalRule):
    name = "mine"
    traits = Traits(needs={"error"}, exact_at_output=True)

    def signal(self, at):
        if at.state.get("x") is None:
            return {}["meen"]
"""


def test_an_error_in_ones_own_rule_has_its_place(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "own_rule.py").write_text(OWN_RULE)
    monkeypatch.delitem(sys.modules, "own_rule", raising=False)
    rule, why = "own_rule:Mine", "KeyError: 'meen' (own_rule.py, line 10)"
    check = ["check", "experiment_tasks:network", "--rule", rule, "--input", "7", "4"]
    assert f"one batch could not be run: {why}" in refused(check, capsys)
    words = ["--task", "experiment_tasks:BLOBS", "--epochs", "1", "--output", "folder"]
    main(["compare", "--rules", "backprop", rule, "--seeds", "0", "--lr", "0.01", *words])
    assert why in capsys.readouterr().out
    failed = json.loads(
        (here / "folder" / "runs" / "own_rule-Mine-seed0" / "record.json").read_text()
    )
    assert failed["reason"].endswith(why)


def test_every_problem_with_the_blocks_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--blocks", "lay*"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("beyondprop: cannot attach")
    assert "'lay*' matches no module" in said
    assert "Traceback" not in said
    assert not list(here.iterdir())


def test_yaml_that_is_wrong_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.yaml").write_text("sed: 1\n")
    assert "sed" in refused(["train", "--config", "run.yaml"], capsys)
    (here / "run.yaml").write_text("seed: [\n")
    assert "config" in refused(["train", "--config", "run.yaml"], capsys)


def test_a_folder_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("mine")
    words = ["train", *BLOBS, "--output", "file/run"]
    assert refused(words, capsys).endswith("there is a file where its folder should be\n")
    assert (here / "file").read_text() == "mine"


def test_a_used_folder(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *BLOBS, *SMALL]
    assert main(words) == 0
    capsys.readouterr()
    assert "add --resume" in refused(words, capsys)
    assert "seed (0 there, 1 now)" in refused(
        [*words, "--seed", "1", "--resume", "--output", "runs/experiment_tasks-BLOBS-dfa-seed0"],
        capsys,
    )


# Commands -----------------------------------------------------------------------------------------


def test_train_leaves_a_folder_and_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *BLOBS, *SMALL, "--rule", "fa", "--seed", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    folder = here / "runs" / "experiment_tasks-BLOBS-fa-seed2"
    record = json.loads((folder / "record.json").read_text())
    assert f"test accuracy {record['test']['score']:.4f}" in said
    assert f"folder: {folder.relative_to(here)}" in said
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().out == said


def test_a_diverged_run_is_recorded_and_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--task", "experiment_tasks:EXPLODING", "--output", "run"]
    assert re.search(r"the run diverged: the .* loss became \w+", refused(words, capsys))
    assert json.loads((here / "run" / "record.json").read_text())["status"] == "diverged"


def test_a_run_that_had_no_chance_is_not_blamed_on_the_learning_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(["train", "--task", "experiment_tasks:HOPELESS"], capsys)
    assert "loss was nan before the first step" in said
    assert "learning_rate" not in said


def test_compare_leaves_a_table_a_record_and_a_report(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--rules", "backprop", "frozen", "--seeds", "0", "--learning-rates", "0.01"]
    words = ["compare", *BLOBS, *SMALL, *few, "--measure-cost", "false"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert re.search(r"backprop +0\.\d{4} +(100\.0%|–)", said.out)
    assert "recovery: not reported, because intervals need at least two seeds" in said.out
    assert len(re.findall(r"seed 0 · test accuracy", said.err)) == 2
    (folder,) = (here / "runs").glob("compare-experiment_tasks-BLOBS-*")
    assert json.loads((folder / "comparison.json").read_text())["kind"] == "comparison"
    assert "<html" in (folder / "report.html").read_text()
    assert main(["report", str(folder), "--output", "elsewhere.html"]) == 0
    assert (here / "elsewhere.html").read_bytes() == (folder / "report.html").read_bytes()


def test_compare_on_several_tasks_shows_one_table_over_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--rules", "backprop", "frozen", "--seeds", "0", "--learning-rates", "0.01"]
    words = ["compare", *few, *SMALL, "--measure-cost", "false", "--measures", "isolation"]
    assert main([*words, "--tasks", "experiment_tasks:BLOBS", "experiment_tasks:NOISY"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"rule +experiment_tasks:BLOBS +experiment_tasks:NOISY", said)
    assert len(re.findall(r"^backprop ", said, re.M)) == 3
    (folder,) = (here / "runs").glob("compare-tasks-*")
    assert "All comparisons" in (folder / "report.html").read_text()
    more = ["--output", str(folder), "--resume"]
    assert main([*words, *more, "--projections", "sparse", "--rules", "dfa"]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^dfa\(projection=sparse\) ", said, re.M)) == 3
    one = ["--task", "experiment_tasks:BLOBS"]
    assert "add experiment_tasks:BLOBS by --tasks" in refused([*words, *one, *more], capsys)


def test_compare_without_the_report_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as if it were not installed
    few = ["--rules", "backprop", "--seeds", "0", "--learning-rates", "0.01"]
    assert main(["compare", *BLOBS, *SMALL, *few, "--measure-cost", "false"]) == 0
    assert install("report") in capsys.readouterr().out


def test_compare_where_every_run_diverges(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--rules", "backprop", "dfa", "--seeds", "0", "--learning-rates", "1e30"]
    task = ["--task", "experiment_tasks:EXPLODING"]
    assert main(["compare", *task, *few, "--measure-cost", "false"]) == 2
    assert "dfa, seed 0: diverged" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["network", "BLOBS"])
def test_check_prints_what_would_change(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", f"experiment_tasks:{model}", "--rule", "dfa", "--blocks", "0", "3", "5"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "3 blocks" in said
    assert "DirectFeedbackAlignment" in said


def test_check_runs_a_batch_of_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "digits-mlp", "--rule", "fa", "--batch-size", "5"]) == 0
    attached, _, ran = capsys.readouterr().out.partition("\n\n")
    assert "own backward for" in attached
    assert ran.startswith("Sequential: one batch through")
    assert " 5×10 " in ran
    assert "the rule's" in ran


def test_check_calls_a_model_as_its_task_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "digits-goodness", "--rule", "ff", "--batch-size", "4"]) == 0
    assert " 8×256 " in capsys.readouterr().out  # right answers, and wrong ones


def test_check_runs_a_batch_of_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "experiment_tasks:network", "--rule", "drtp"]
    assert main([*words, "--input", "7", "4", "--classes", "3"]) == 0
    said = capsys.readouterr().out
    assert "one batch through" in said
    assert "isolated" in said
    assert main(words) == 0
    assert "give the shape of one, such as --input 8 3 32 32" in capsys.readouterr().out


@pytest.mark.parametrize("batch", ["batch", "PAIR"])
def test_check_calls_a_model_with_its_loss_inside(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "labelled_model:Labelled", "--rule", "drtp", "--blocks", "words", "layers.*"]
    ports = ["--output", "head", "--targets", "labels", "--axes", "batch tokens features"]
    assert main([*words, *ports, "--batch", f"labelled_model:{batch}"]) == 0
    said = capsys.readouterr().out
    assert "the error is taken at the output of head" in said
    assert "the model's argument labels" in said
    assert " 3×4×6 " in said
    assert main([*words, *ports[:4], "--axes", "{words: batch tokens features}"]) == 0


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("experiment_tasks:network --input 7 5", "one batch could not be run: RuntimeError"),
        ("experiment_tasks:network --rule drtp --input 7 4", "the number of classes by --classes"),
        ("experiment_tasks:network --input 0 6", "--input takes whole numbers of at least 1"),
        ("experiment_tasks:network --classes 3", "give its shape by --input"),
        ("experiment_tasks:network --input 7 4 --classes 0", "--classes must be at least 1"),
        ("experiment_tasks:network --batch_size 3", "--batch_size is for tasks"),
        ("digits-mlp --input 7 6", "a task has its own data"),
        ("digits-mlp --batch labelled_model:batch", "leave out --batch"),
        ("experiment_tasks:network --input 7 4 --batch labelled_model:batch", "not by both"),
        ("labelled_model:Labelled --output tail", "--output 'tail' names no module"),
        ("labelled_model:Labelled --rule fa --batch labelled_model:none", "none"),
        ("digits-mlp --batch_size 0", "--batch_size must be at least 1"),
    ],
)
def test_a_batch_that_cannot_be_run_is_one_sentence(
    typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *typed.split()]) == 2
    failed = capsys.readouterr().err
    assert said in failed
    assert failed.count("\n") == 1


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("experiment_rules:Signs", "Signs"),
        ("{rule: experiment_rules:Signs, scale: 2}", "Signs"),
        ("{rule: fa, exact: ['0']}", "exact, as asked: 0"),
    ],
)
def test_check_takes_ones_own_rule(
    rule: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "experiment_tasks:network", "--rule", rule]) == 0
    assert said in capsys.readouterr().out


def test_train_takes_ones_own_rule(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "{rule: experiment_rules:Signs, projection: {hadamard: {rounds: 2}}}"
    assert main(["train", *BLOBS, *SMALL, "--rule", rule]) == 0
    said = capsys.readouterr().out
    name = "experiment_rules-Signs-projection-hadamard-rounds-2"
    assert "experiment_rules:Signs(projection=hadamard(rounds=2)) on blobs: test" in said
    assert (here / "runs" / f"experiment_tasks-BLOBS-{name}-seed0" / "record.json").exists()


def test_compare_takes_ones_own_rule(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--seeds", "0", "--learning-rates", "0.01", "--measure-cost", "false"]
    some = ["--rules", "backprop,experiment_rules:Signs,frozen", *few]
    assert main(["compare", *BLOBS, *SMALL, *some]) == 0
    assert "experiment_rules:Signs" in capsys.readouterr().out
    (page,) = (here / "runs").glob("compare-experiment_tasks-BLOBS-*/report.html")
    assert "experiment_rules:Signs" in page.read_text("utf-8")


def figures(words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What `project` says, by the name at the beginning of each line."""
    assert main(["project", *words.split()]) == 0
    said = capsys.readouterr()
    assert not said.err
    return dict(line.split("  ", 1) for line in said.out.splitlines())


def test_project_chooses_and_says_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    said = figures("--inputs 1e2 --outputs 300 --batch 4 --seed 7 --threads 1", capsys)
    names = ["projection", "chosen among", "time", "memory", "rounding", "norms", "inner products"]
    assert list(said) == names
    kind = said["projection"].split(",")[0].strip()
    assert "seed 7: 100 to 300 float32 numbers, batch 4, cpu, 1 thread" in said["projection"]
    assert said["chosen among"].split()[0] == kind
    for other in ("dense", "signs", "streamed", "hadamard"):
        assert re.search(rf"\b{other} [\d.e-]+ ms", said["chosen among"])
    assert re.search(r"[\d.e-]+ ms \(median of several rounds; predicted [\d.e-]+ ms", said["time"])
    assert "the matrix has 30,000 entries, 120 kB" in said["memory"]
    assert re.search(
        r"\de-0[678] relative to the product in float64, at 100 to 300", said["rounding"]
    )
    assert "a Gaussian matrix 4.08%)" in said["norms"]


def test_project_says_energy_only_where_the_power_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = figures("--inputs 64 --outputs 64 --kind hadamard --watts 20", capsys)
    assert re.search(r"[\d.e-]+ J per batch, at a constant 20 W", said["energy"])
    assert said["projection"].strip().startswith("hadamard, seed 0")
    assert "chosen among" not in said
    assert "error 0.00%" in said["norms"]


def test_project_extrapolates_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from beyondprop.projections.cost import trial

    monkeypatch.setattr(trial, "outputs_within", lambda *_: 100)
    said = figures("--inputs 640 --outputs 1e6 --kind streamed", capsys)
    assert "extrapolated from the first 100 outputs" in said["time"]
    assert "0 B stored" in said["memory"]
    assert "8 vectors at 100 outputs" in said["norms"]


def test_project_by_light_beside_electronics(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--inputs 1e3 --outputs 1e4 --batch 4 --seed 7 --device opu --threads 1"
    said = figures(words, capsys)
    names = ["projection", "time", "", "energy", "error", "memory", "electronics", "break-even"]
    assert [name.strip() for name in said] == names
    assert "preset lighton-opu, simulated, seed 7: 1,000 to 10,000 numbers" in said["projection"]
    assert ", 40 shots 20 ms, receiving 0.4 ms, " in said["time"]
    assert re.search(r"0\.612 J per batch for the optics, at 30 W as published", said["energy"])
    assert "pass --watts" in said["energy"]
    assert re.search(r"4\d\.\d% relative to the exact product, cosine 0\.\d{3}", said["error"])
    assert "8 Gaussian vectors of full width, 8,192 of 10,000 outputs" in said["error"]
    assert "1 kB of frames, 400 kB of pictures" in said["memory"]
    assert re.search(r"[\d.e-]+ ms \(measured here\); ", said["electronics"])
    assert re.search(r"dense product for (n >= [\d,]+|no n up to 1,039,680)", said["break-even"])


def test_project_by_light_names_the_electronics_it_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = figures("--inputs 64 --outputs 64 --device opu --kind signs --watts 20", capsys)
    assert said["electronics"].strip().startswith("signs ")
    assert re.search(r"[\d.e-]+ J at 20 W", said["electronics"])
    assert re.search(r"and [\d.e-]+ J for the electronics, at 20 W", said["energy"])


def test_project_leaves_the_threads_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    before = torch.get_num_threads()
    figures(f"--inputs 9 --outputs 9 --threads {before + 1}", capsys)
    assert torch.get_num_threads() == before


# Stopped from outside -----------------------------------------------------------------------------


def test_interrupting_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--task", "experiment_tasks:INTERRUPTED", "--output", "my run"]
    assert main(words) == 130
    assert capsys.readouterr().err == (
        "beyondprop: interrupted; to continue: beyondprop train --task "
        "experiment_tasks:INTERRUPTED --output 'my run' --resume\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_lacks_characters_gets_others(encoding: str) -> None:
    """`list` names β, the table has ± and lines: no such console may lose a comparison."""
    words = "compare --task experiment_tasks:BLOBS --rules backprop frozen --seeds 0 1 --epochs 1"
    rates = ["--learning_rates", "0.01", "--measures", "[]", "--output", "kept"]
    for typed, said in (
        (["list"], "predsim"),
        (["compare", "--help"], "every rule gets the same seeds"),
        (["check", "digits-mlp", "--rule", "dfa"], "DirectFeedbackAlignment"),
        ([*words.split(), *rates], "report: kept"),
    ):
        process = child(*typed, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        shown, failed = process.communicate(timeout=120)
        assert process.returncode == 0, failed
        assert said in shown


def test_the_report_is_written_before_anything_is_printed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "the console is gone")

    monkeypatch.setattr("beyondprop.experiment.table.table", broken)
    words = "compare --task experiment_tasks:BLOBS --rules backprop frozen --seeds 0 --epochs 1"
    assert main([*words.split(), "--learning_rates", "0.01", "--output", "kept"]) == 2
    assert (here / "kept" / "report.html").exists()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_a_real_process(here: Path) -> None:
    words = ["train", "--task", "experiment_tasks:SLOW", "--output", "run"]
    process = child(*words, SLOW_LOSS="0.2")
    while process.poll() is None and not (here / "run" / "metrics.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == f"beyondprop: interrupted; to continue: beyondprop {' '.join(words)} --resume\n"
    assert main([*words, "--resume"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_takes_no_more_in_a_real_process(here: Path) -> None:
    import resource

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    process = subprocess.run(
        [sys.executable, "-m", "beyondprop", "train", *BLOBS, "--output", "run"],
        env=os.environ | {"PYTHONPATH": search_path(), "OMP_NUM_THREADS": "1"},
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("beyondprop: cannot write run/checkpoint.pt: File too large")
    assert process.stderr.count("\n") == 1
    assert json.loads((here / "run" / "spec.json").read_text())["task"] == BLOBS[1]
    assert main(["train", *BLOBS, "--output", "run", "--resume"]) == 0


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.exit(0)", "it ends the program with sys.exit(0)"),
        ("raise SystemExit('done')", "it ends the program with sys.exit('done')"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Own(BaseException): pass\nraise Own('mine')", "Own: mine"),
        ("def __getattr__(name): raise ValueError(name)", "ValueError: TASK"),
        ("def __getattr__(name): raise SystemExit(0)", "ends the program with sys.exit(0)"),
        ("def TASK(): raise SystemExit(0)", ""),
    ],
)
def test_a_module_that_ends_the_program_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], code: str, told: str
) -> None:
    name = f"ends_{crc32(code.encode())}"
    (here / f"{name}.py").write_text(code)
    for command in (["train", "--task"], ["check"], ["compare", "--task"]):
        assert told in refused([*command, f"{name}:TASK"], capsys)


@pytest.mark.parametrize("part", ["load", "model", "loss", "metric", "optimizer"])
def test_a_task_that_ends_the_program_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    (here / f"ending_{part}.py").write_text(
        "import sys\nfrom dataclasses import replace\nfrom experiment_tasks import BLOBS\n"
        f"TASK = replace(BLOBS, {part}=lambda *_: sys.exit(0))\n"
    )
    said = refused(["train", "--task", f"ending_{part}:TASK", *SMALL, "--output", "run"], capsys)
    assert "it ends the program with sys.exit(0)" in said


def test_code_that_ends_the_process_by_an_error_of_its_own_is_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "odd_task.py").write_text(
        "from dataclasses import replace\nfrom experiment_tasks import BLOBS\n"
        "class Own(BaseException): pass\n"
        "def load(folder): raise Own('mine')\n"
        "TASK = replace(BLOBS, load=load)\n"
    )
    said = refused(["train", "--task", "odd_task:TASK", "--output", "run"], capsys)
    assert "code that the command calls has stopped it: Own: mine" in said


def laughs(depth: int) -> str:
    """Lists of lists, each of which names the one inside twice: 2**depth numbers."""
    inner = "&a0 [1, 1]"
    for level in range(1, depth):
        inner = f"&a{level} [{inner}, *a{level - 1}]"
    return inner


@pytest.mark.parametrize("field", ["task", "rule", "blocks", "strange"])
def test_yaml_whose_parts_stand_in_many_places_is_refused_at_once(
    here: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    (here / "laughs.yaml").write_text(f"{field}: {laughs(60)}\n")
    said = refused(["train", "--config", "laughs.yaml", "--output", "run"], capsys)
    assert "refers to another part: write that out instead" in said


def test_a_star_that_refers_to_nothing_is_a_pattern(here: Path) -> None:
    (here / "stars.yaml").write_text("task: experiment_tasks:BLOBS\nblocks: ['*']\n")
    arguments = parser().parse_args(["train", "--config", "stars.yaml"])
    assert list(arguments.train.blocks) == ["*"]


def test_arguments_of_a_task_to_check_refer_to_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = f"{{task: moons, epochs: {laughs(60)}}}"
    assert "refers to another part" in refused(["check", task], capsys)
