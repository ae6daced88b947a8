"""Forgetting under each rule when tasks are learned one after another, and methods against it.

    python -m benchmarks.audit.forgetting

Streams of MNIST or Fashion-MNIST: pairs of classes, where the pair is unknown at test
(class-incremental) or known (task-incremental), and the same images with permuted pixels
(domain-incremental). Each method is tried under each rule with the same settings: learning rates
times strengths, extended beyond an end if the best is there. The best setting has the highest score
on the validation samples of all experiences at the end of the stream. Methods that store samples
get as many as fit into the memory of a bank of slot machines.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.audit import tables
from benchmarks.audit.search import search, search_together
from benchmarks.audit.trials import WAYS, Trial, Way, spec_of, streams
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from beyondprop.continual import learn, learn_together, make

RULES = ("backprop", "fa", "dfa", "usf", "dgl", "frozen")
TOGETHER = "all together"


def once(trial: Trial, name: str, setting: dict[str, Any], rate: float, seed: int) -> Figures:
    """Return the results of one run of a method on test samples."""
    set_threads(1)
    task, data = trial.data()
    way = WAYS[name]
    size = trial.memory(way)
    recipe = trial.recipe(way, rate, seed)
    found = learn(streams(data)[trial.stream], task, make(spec_of(name, setting, size)), recipe)
    matrix = found.matrix
    return {
        "before": list(matrix.before),
        "rows": [list(row) for row in matrix.rows],
        "average": matrix.average,
        "learned": matrix.learned,
        "forgetting": matrix.forgetting,
        "backward_transfer": matrix.backward_transfer,
        "forward_transfer": matrix.forward_transfer,
        "floor": found.floor,
        "bits": found.bits,
        "model_bits": found.model_bits,
    }


def ceiling(trial: Trial, rate: float, seed: int) -> Figures:
    """Return the score of the rule when it learns all experiences together."""
    set_threads(1)
    task, data = trial.data()
    found = learn_together(streams(data)[trial.stream], task, trial.recipe(Way(), rate, seed))
    return {"average": sum(found) / len(found)}


def main(
    task: str = "mnist-mlp",
    samples: int = 10_000,
    kinds: Sequence[str] = ("class", "task", "domain"),
    taught: Sequence[str] = RULES,
    methods: Sequence[str] = tuple(WAYS),
    epochs: int = 2,
    repeats: int = 3,
    workers: int = 2,
    runs: Path = Path("runs/audit"),
    output: Path = Path("results/audit/forgetting.json"),
) -> None:
    """Learn streams by each rule and each method.

    Args:
        task: The task whose images are used.
        samples: The number of training samples, from the first on.
        kinds: The kinds of streams: class, task, domain.
        taught: The rules.
        methods: The methods against forgetting.
        epochs: Passes over each experience.
        repeats: The number of seeds, from 0.
        workers: Parallel processes.
        runs: Folder that caches each run.
        output: The file of the record.
    """
    started = datetime.now(UTC)
    trials = [Trial(task, samples, kind, rule, epochs) for kind in kinds for rule in taught]
    pairs = [(trial, name) for trial in trials for name in methods if fits(trial, name)]
    folder = runs / f"forgetting-{task}-{samples}-{epochs}"
    asked = {key_of(*pair): partial(search, *pair) for pair in pairs}
    asked |= {key_of(trial, TOGETHER): partial(search_together, trial) for trial in trials}
    chosen = cached_runs(folder / "search", asked, workers)
    jobs = {
        f"{key_of(trial, name)}, {seed}": partial(
            once,
            trial,
            name,
            chosen[key_of(trial, name)]["setting"],
            chosen[key_of(trial, name)]["rate"],
            seed,
        )
        for trial, name in pairs
        for seed in range(repeats)
    }
    jobs |= {
        f"{key_of(trial, TOGETHER)}, {seed}": partial(
            ceiling, trial, chosen[key_of(trial, TOGETHER)]["rate"], seed
        )
        for trial in trials
        for seed in range(repeats)
    }
    found = cached_runs(folder / "runs", jobs, workers)
    rows = [
        {
            "stream": trial.stream,
            "rule": trial.rule,
            "method": name,
            "search": chosen.get(key_of(trial, name)),
            "runs": [found[f"{key_of(trial, name)}, {seed}"] for seed in range(repeats)],
        }
        for trial, name in [*pairs, *((trial, TOGETHER) for trial in trials)]
    ]
    spec = {
        "task": task,
        "samples": samples,
        "streams": list(kinds),
        "rules": list(taught),
        "methods": list(methods),
        "epochs": epochs,
        "seeds": repeats,
    }
    save("audit/forgetting", spec, rows, table(rows, task), started, output)


def fits(trial: Trial, name: str) -> bool:
    """Whether a method makes sense with a rule: in a frozen network, only the head learns."""
    return not (trial.rule == "frozen" and name == "slots")


def key_of(trial: Trial, name: str) -> str:
    """Return the name of a method's jobs."""
    return f"{trial.stream}, {trial.rule}, {name}"


def table(rows: list[Figures], task: str) -> Table:
    """Return the table of the results."""
    return Table(
        f"Tasks in turn, {task}",
        *tables.forgetting(rows),
        notes=tables.forgetting_notes(rows),
    )


if __name__ == "__main__":
    command_line(main)
