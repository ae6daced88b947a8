"""The linear model on the inputs, a control in every comparison."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop._torch.weights import WEIGHTS, weights
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import FAULTS, UserError
from beyondprop.experiment.assess import EVALUATION_BATCH, score
from beyondprop.experiment.chance import outputs_of, targets_of
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.head import NUMBERS, fill
from beyondprop.experiment.plan import ComparePlan, RunPlan, as_json
from beyondprop.experiment.provenance import provenance
from beyondprop.experiment.record import RECORD, SCHEMA, describe_task, describe_test, reason_of
from beyondprop.experiment.run import over
from beyondprop.experiment.setup import build, torch_settings
from beyondprop.experiment.solver import Features, Problem, solve
from beyondprop.experiment.source import Source
from beyondprop.experiment.storage import SPEC, check_claim
from beyondprop.files import StorageError, finite, write_bytes, write_json
from beyondprop.jobs import Executor, Job
from beyondprop.measure import Evaluation
from beyondprop.registry import file_name
from beyondprop.tasks import Data, Samples, Split, Task

LINEAR = "linear"
"""Name of the linear model on the inputs in tables; it is not a rule."""

NO_POSITIONS = torch.Size()
"""The positions of samples that have one row each."""


@dataclass(frozen=True)
class LinearRuns:
    """The runs of the linear model: one solution, with a record for every seed.

    Attributes:
        plan: The comparison's plan.
        source: The task and its data.
        folder: The comparison's folder.
        model: Builds the model.
        shape: Shape of a sample's outputs.
    """

    plan: ComparePlan
    source: Source
    folder: Path
    model: partial[nn.Sequential]
    shape: torch.Size

    def records(self, executor: Executor) -> list[dict[str, Any]]:
        """Return a record for each seed; finished ones are kept."""
        job = Job("linear model on the inputs", self.solved, self.earlier)
        (outcome,) = executor.perform(LINEAR, [job], lambda found: told(found[0]))
        return outcome.value or self.failed(str(outcome.error), datetime.now(UTC))

    def earlier(self) -> list[dict[str, Any]] | None:
        """Return the records, or None if any is missing."""
        for seed in self.plan.seeds:
            check_claim(self.at(seed), as_json(self.run_plan(seed)), resume=True)
        found = [over(self.at(seed)) for seed in self.plan.seeds]
        kept = [record for record in found if record is not None]
        return kept if len(kept) == len(found) else None

    def at(self, seed: int) -> Path:
        """Return the folder of a seed's run."""
        return self.folder / "runs" / f"{file_name(LINEAR)}-seed{seed}"

    def run_plan(self, seed: int) -> RunPlan:
        """Return the plan of a seed's run."""
        any_rule = next(iter(self.plan.names))
        return replace(self.plan.run(any_rule, seed, self.plan.first), rule=LINEAR)

    def solved(self, progress: Progress) -> list[dict[str, Any]]:  # noqa: ARG002
        """Solve the model and write the records."""
        started = datetime.now(UTC)
        with torch_settings(self.plan):
            try:
                return self._solved(started)
            except StorageError:
                raise
            except FAULTS as error:  # any error of a task; the rules' runs are kept
                return self.failed(reason_of(error), started)

    def _solved(self, started: datetime) -> list[dict[str, Any]]:
        """Return the records, from one solution if all seeds have the same data."""
        seeds = self.plan.seeds
        if self.source.task.split is None:
            solution = self._solution(seeds[0])
            return [self._written(seed, started, *solution) for seed in seeds]
        return [self._written(seed, started, *self._solution(seed)) for seed in seeds]

    def _solution(self, seed: int) -> tuple[dict[str, Any], bytes]:
        """Return the solved model's part of a seed's record, and the weights."""
        task = self.source.task
        data = flat(task, self.source.data(seed), self.shape[:-1])
        model = self.model().to(self.plan.device)
        layer = next(each for each in model if isinstance(each, nn.Linear))
        curve = [point(0, score(task, model, data.validation), None, 0.0)]
        begun = time.perf_counter()
        problem = Problem(task.loss, task.metric, layer.out_features, self.shape)
        solution = solve(problem, features(data.train), features(data.validation))
        fill(layer, solution)
        seconds = time.perf_counter() - begun
        held_out = score(task, model, data.validation)
        curve.append(point(1, held_out, solution.train_loss, seconds))
        tested = score(task, model, data.test)
        figures = solution.train_loss, held_out.loss, held_out.score, tested.loss, tested.score
        if not all(map(math.isfinite, figures)):
            raise UserError("its scores are not finite: the loss may have no least value")
        content = weights(model)
        parameters = sum(each.numel() for each in model.parameters())
        found = {
            "status": "finished",
            "reason": None,
            "head": solution.found,
            "curve": curve,
            "test": describe_test(tested),
            "parameters": parameters,
            "trained_parameters": parameters,
            "weights_sha256": sha256(content).hexdigest(),
        }
        return found, content

    def failed(self, reason: str, started: datetime) -> list[dict[str, Any]]:
        """Write for each seed a record that states why there is no model."""
        absent = dict.fromkeys(("head", "test", "parameters", "trained_parameters"))
        found: dict[str, Any] = {**absent, "status": "failed", "reason": reason, "curve": []}
        return [self._written(seed, started, found, None) for seed in self.plan.seeds]

    def _written(
        self, seed: int, started: datetime, found: dict[str, Any], content: bytes | None
    ) -> dict[str, Any]:
        folder, spec = self.at(seed), as_json(self.run_plan(seed))
        earlier = over(folder)
        if earlier is not None:
            return earlier
        record: dict[str, Any] = finite(
            {
                "schema": SCHEMA,
                "kind": "run",
                "task": describe_task(self.source.task, self.source.data(seed)),
                "rule": {"name": LINEAR, "settings": {}, "source": None, "report": None},
                "seed": seed,
                "learning_rate": None,
                "spec": spec,
                "measures": {},
                "provenance": provenance(started),
            }
            | found
        )
        write_json(folder / SPEC, spec)
        if content is not None:
            write_bytes(folder / WEIGHTS, content)
        write_json(folder / RECORD, record)
        return record


def linear_runs(plan: ComparePlan, source: Source, folder: Path) -> LinearRuns | str:
    """Return the runs of the linear model, or why there is none."""
    task, data = source.task, source.data(plan.seeds[0])
    try:
        given = list(leaves(seen(task, data.train.batch(slice(1))[0])))
    except UserError as error:
        return reason_of(error)
    if strange := [each for each in given if not each.is_floating_point()]:
        return (
            f"its inputs would be {str(strange[0].dtype).removeprefix('torch.')}, not real numbers"
        )
    if not isinstance(data.train, Split) and not all(len(each) == 1 for each in given):
        return "its inputs differ in length"
    width = sum(each.numel() for each in given)
    if width * len(data.train) > NUMBERS:
        return f"its inputs would be {width * len(data.train):,} numbers, more than {NUMBERS:,}"
    with generators_kept([data.train.device]):
        try:
            for part in data.parts.values():
                if not isinstance(part, Split):  # in memory, all rows have the same length
                    rows_of(task, part, NO_POSITIONS), targets_of(part)
            outputs = outputs_of(task, data, build(task, plan))
        except FAULTS as error:  # any error of a model or a data set
            return reason_of(error)
    shape = outputs.shape[1:]
    positions = shape[:-1]
    if positions and (task.features is None or any(e.shape[1:-1] != positions for e in given)):
        return (
            f"the model's outputs are {tuple(shape)} per sample, but the task has no features for "
            "each position"
        )
    width //= math.prod(positions)
    model = partial(linear_model, width, shape[-1] if shape else 1, len(positions), not shape)
    return LinearRuns(plan, source, folder, model, shape)


def linear_model(inputs: int, outputs: int, positions: int, single: bool) -> nn.Sequential:
    """Return a linear layer on flattened inputs, all zero.

    Args:
        inputs: Number of inputs for each sample, or for each position of it.
        outputs: Number of outputs.
        positions: Number of axes of a sample that are positions. The layer is applied to each
            position alone.
        single: Whether a sample's output is a scalar.
    """
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    flatten = nn.Flatten(1 + positions)
    return nn.Sequential(flatten, layer, *([nn.Flatten(0)] if single else []))


def seen(task: Task, inputs: Any) -> Any:
    """Return the linear model's inputs for a batch's inputs.

    Raises:
        UserError: The task's features fail.
    """
    if task.features is None:
        return inputs
    with fault_of("features", task):
        return task.features(inputs)


def flat(task: Task, data: Data, positions: torch.Size) -> Data:
    """Return the data with each sample's inputs flattened into rows; see `rows_of`.

    Raises:
        UserError: The inputs can't be flattened into rows, or the targets are not one tensor.
    """
    return data.mapped(lambda part: Split(rows_of(task, part, positions), targets_of(part)))


def rows_of(task: Task, samples: Samples, positions: torch.Size) -> Tensor:
    """Return the linear model's inputs for all samples.

    Args:
        task: The task, with its features of the inputs.
        samples: Samples, which are read in batches.
        positions: Sizes of the axes of a sample that are positions, each with a separate row.

    Returns:
        ``(n, *positions, width)``.

    Raises:
        UserError: The inputs differ in length.
    """
    rows = [
        torch.cat([x.reshape(len(x), *positions, -1) for x in leaves(seen(task, inputs))], -1)
        for inputs, _ in samples.batches(EVALUATION_BATCH)
    ]
    if len({each.shape[1:] for each in rows}) > 1:
        raise UserError("the inputs differ in length")
    return torch.cat(rows).to(torch.get_default_dtype())


def features(samples: Samples) -> Features:
    """Return the features and targets on which a linear layer is solved."""
    return Features(*samples.batch(slice(len(samples))))


def point(
    epoch: int, found: Evaluation, train_loss: float | None, seconds: float
) -> dict[str, Any]:
    """Return one of the two points of a solved model's curve; see `assess.point`."""
    return {
        "epoch": epoch,
        "step": epoch,
        "train_loss": train_loss,
        "validation_loss": found.loss,
        "validation_score": found.score,
        "seconds": seconds,
        "measures": {},
    }


def told(record: Mapping[str, Any]) -> str:
    """Return a line with the linear model's result."""
    if record["status"] != "finished":
        return f"  {LINEAR} · {record['status']}: {record['reason']}"
    metric = record["task"]["metric"]
    return f"  {LINEAR} · test {metric} {record['test']['score']:.4f}"
