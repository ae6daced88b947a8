"""`beyondprop tune`: the best settings of one rule on one task."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser, spec_of
from beyondprop.errors import install
from beyondprop.experiment.study_spec import StudySpec
from beyondprop.registry import file_name, label

HELP = "Search for the settings of a rule with the best validation score."


def parser() -> Parser:
    """Return the command's flags: those of `StudySpec` and of the folder."""
    made = Parser(
        description=f"{HELP} Optuna searches the learning rate, the rule's numeric arguments and "
        "one of --optimizers. It does not use the test split. Optuna is installed by "
        f"{install('tune')}.",
        epilog="Example: beyondprop tune --task digits-mlp --rule kp --trials 40",
    )
    made.add_spec(
        StudySpec,
        output="The search's folder. Default: runs/tune-TASK-RULE.",
        resume="Continue the search in the folder. --trials can be larger than before.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Search, and print the best setting and how to use it."""
    from beyondprop.experiment.study import BEST, COMPARE, study, words

    spec = spec_of(StudySpec, arguments)
    named = f"tune-{file_name(label(spec.task))}-{file_name(label(spec.rule))}"
    output = arguments.output or Path("runs") / named
    found = study(spec, output, arguments.resume)
    if found["best"] is None:
        print(f"no trial finished; {output} gives the reason for each")
        return 2
    score, setting = found["best"]["validation_score"], words(found["best"]["setting"])
    print(f"best of {len(found['trials'])} trials: validation score {score:.4f} with {setting}")
    print(f"train with it: beyondprop train --config {output / BEST}")
    print(f"compare it: beyondprop compare --config {output / COMPARE}")
    print("For a fair comparison, search the settings of the other rules too.")
    return 0
