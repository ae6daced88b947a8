"""`beyondprop train`: one run."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.spec import RunSpec
from beyondprop.registry import file_name, label

HELP = "Train one task by one rule from one seed."


def parser() -> Parser:
    """Return the command's flags: those of `RunSpec` and of the folder."""
    made = Parser(
        description=f"{HELP} It writes a folder with the resolved spec, the record (figures, "
        "versions, hardware, command), the metrics of every step, the weights and a checkpoint.",
        epilog="Example: beyondprop train --task digits-mlp --rule dfa --seed 1",
    )
    made.add_spec(
        RunSpec,
        output="The run's folder. Default: runs/TASK-RULE-seedSEED.",
        resume="Continue the run in the folder, to the result of an uninterrupted run.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Train, and print the result and its folder."""
    from beyondprop._torch.processes import leads
    from beyondprop.experiment.assess import UNTRAINED
    from beyondprop.experiment.run import train

    spec = spec_of(RunSpec, arguments)
    named = f"{file_name(label(spec.task))}-{file_name(label(spec.rule))}-seed{spec.seed}"
    output = arguments.output or Path("runs") / named
    record = train(spec, output, arguments.resume)
    if not leads():  # of several processes, only the first prints
        return 0 if record["status"] == "finished" else 2
    if record["status"] != "finished":
        advice = f"try a lower --learning_rate (it was {record['learning_rate']:g})"
        if UNTRAINED in record["reason"]:
            advice = "check the data, the loss and the model's initial weights"
        print(
            f"beyondprop: the run {record['status']}: {record['reason']}; it is recorded in "
            f"{output}, {advice}",
            file=sys.stderr,
        )
        return 2
    metric, score = record["task"]["metric"], record["test"]["score"]
    print(f"{record['rule']['name']} on {record['task']['name']}: test {metric} {score:.4f}")
    print(f"folder: {output}")
    return 0
