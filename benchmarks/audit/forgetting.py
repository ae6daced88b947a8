"""What rules forget of tasks in turn, and what keeps them from it, at equal memory.

    python -m benchmarks.audit.forgetting

Streams of MNIST or Fashion-MNIST: pairs of classes in turn, without being told the pair at test
(class-incremental) and with it (task-incremental), and the same images with their pixels in other
orders (domain-incremental). Each method is tried under each rule at the same number of settings:
learning rates times strengths, of which the best by the validation samples of all experiences at
the end of the stream is taken. Those that keep samples get as many as fit into the bits of a bank
of slot machines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from benchmarks.audit import tables
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from beyondprop import rules
from beyondprop.continual import Stream, learn, learn_together, make, pairs_of, permuted
from beyondprop.continual.streams import split_classes
from beyondprop.errors import UserError
from beyondprop.pieces.training import Recipe
from beyondprop.registry import Spec
from beyondprop.tasks import Data, Task, find

RULES = ("backprop", "fa", "dfa", "usf", "dgl", "frozen")
SLOTS, ORDERS, SEARCHED = 8, 5, 1000
WIDTH = 256
RATES = (3e-4, 1e-3, 3e-3)
CHOSEN = (0.05, 0.2, 0.5)
"""Learning rates of slot machines, by stochastic gradient descent."""


@dataclass(frozen=True)
class Way:
    """A method and the settings of it that are tried.

    Attributes:
        settings: Each a spec of the method.
        keeps: Whether it keeps samples, as many as fit into the bank's bits.
        rates: Learning rates.
        optimizer: (parameters, learning rate) to an optimizer; None is Adam.
    """

    settings: tuple[dict[str, Any], ...] = ({},)
    keeps: bool = False
    rates: tuple[float, ...] = RATES
    optimizer: Callable[[Any, float], Optimizer] | None = None


def descent(parameters: Any, rate: float) -> Optimizer:
    """Return stochastic gradient descent with momentum."""
    return SGD(parameters, rate, momentum=0.9)


WAYS = {
    "plain": Way(),
    "ewc": Way(tuple({"strength": each} for each in (10.0, 100.0, 1000.0))),
    "si": Way(tuple({"strength": each} for each in (0.1, 1.0, 10.0))),
    "no-forgetting": Way(tuple({"strength": each} for each in (0.3, 1.0, 3.0))),
    "replay": Way(keeps=True),
    "dark-replay": Way(tuple({"alpha": each} for each in (0.1, 0.3, 1.0)), keeps=True),
    "slots": Way(rates=CHOSEN, optimizer=descent),
}
TOGETHER = "all together"


def network() -> nn.Module:
    """Return a fully connected network from images to 10 logits."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU()),
        nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, 10),
    )


def streams(data: Data) -> dict[str, Stream]:
    """Return all streams of a data set."""
    pairs = pairs_of(data)
    return {
        "class": split_classes(data, pairs),
        "task": split_classes(data, pairs, told=True),
        "domain": permuted(data, ORDERS),
    }


@dataclass(frozen=True)
class Trial:
    """One rule on one stream.

    Attributes:
        task: Whose images are taken.
        samples: Of the training part.
        stream: Which one.
        rule: Its name.
        epochs: Passes over each experience.
    """

    task: str
    samples: int
    stream: str
    rule: str
    epochs: int

    def data(self) -> tuple[Task, Data]:
        """Return the task with the network, and its data, of which few samples train."""
        task = find(self.task)
        data = task.load(None)
        few = data.train.some(torch.arange(min(self.samples, len(data.train))))
        own = replace(task, model=network, blocks=("1", "2", "3"), output=None, axes=None)
        return own, replace(data, train=few)

    def recipe(self, way: Way, rate: float, seed: int) -> Recipe:
        """Return how each experience is learned."""
        made = Recipe(
            epochs=self.epochs,
            batch_size=64,
            learning_rate=rate,
            rule=rules.make(self.rule, seed),
            seed=seed,
        )
        return made if way.optimizer is None else replace(made, optimizer=way.optimizer)

    def memory(self) -> int:
        """Return how many samples fit into the bits of a bank of slot machines."""
        weights = sum(p.numel() for p in network().parameters() if p.dim() > 1)
        bits = weights * (SLOTS - 1).bit_length() * ORDERS
        return max(1, bits // (784 * 32 + 64))


def spec_of(name: str, setting: dict[str, Any], size: int | None) -> Spec:
    """Return the spec of a method."""
    return {"method": name, **setting} | ({} if size is None else {"size": size})


def search(trial: Trial, name: str) -> Figures:
    """Return the setting and the rate that serve a method best on validation samples."""
    set_threads(1)
    task, data = trial.data()
    way, held = WAYS[name], replace(data, test=data.validation)
    stream, found = streams(held)[trial.stream], []
    size = trial.memory() if way.keeps else None
    for setting in way.settings:
        for rate in way.rates:
            method = make(spec_of(name, setting, size))
            reached = score(stream, task, method, trial.recipe(way, rate, SEARCHED))
            found.append({"setting": setting, "rate": rate, "score": reached})
    best = max(found, key=lambda each: each["score"])
    edge = best["rate"] in (min(way.rates), max(way.rates))
    return {"tried": found, "setting": best["setting"], "rate": best["rate"], "edge": edge}


def score(stream: Stream, task: Task, method: Any, recipe: Recipe) -> float:
    """Return the average score at the end; that of nothing where training fails."""
    try:
        return learn(stream, task, method, recipe).matrix.average
    except UserError:
        return 0.0


def once(trial: Trial, name: str, setting: dict[str, Any], rate: float, seed: int) -> Figures:
    """Return what a method reaches on test samples, once."""
    set_threads(1)
    task, data = trial.data()
    way = WAYS[name]
    size = trial.memory() if way.keeps else None
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
    """Return what the rule scores that learns all at once, at the rate that was best in turn."""
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
        task: Whose images are taken.
        samples: Of its training part, the first ones.
        kinds: Of streams: class, task, domain.
        taught: Rules.
        methods: Against forgetting.
        epochs: Passes over each experience.
        repeats: How many seeds, from 0 on.
        workers: Parallel processes.
        runs: Folder that caches each run.
        output: Where the record goes.
    """
    started = datetime.now(UTC)
    trials = [Trial(task, samples, kind, rule, epochs) for kind in kinds for rule in taught]
    pairs = [(trial, name) for trial in trials for name in methods if fits(trial, name)]
    folder = runs / f"forgetting-{task}-{samples}-{epochs}"
    asked = {key_of(*pair): partial(search, *pair) for pair in pairs}
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
            ceiling, trial, chosen[key_of(trial, "plain")]["rate"], seed
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
    """Whether a method makes sense with a rule: of a frozen network only the head learns."""
    return not (trial.rule == "frozen" and name == "slots")


def key_of(trial: Trial, name: str) -> str:
    """Return the name of a method's jobs."""
    return f"{trial.stream}, {trial.rule}, {name}"


def table(rows: list[Figures], task: str) -> Table:
    """Return the figures to read."""
    return Table(
        f"Tasks in turn, {task}",
        *tables.forgetting(rows),
        notes=tables.forgetting_notes(rows),
    )


if __name__ == "__main__":
    command_line(main)
