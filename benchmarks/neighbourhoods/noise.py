"""Single neighbourhoods compared with the complete network, taught by noise, at equal computation.

    python -m benchmarks.neighbourhoods.noise --task fashion-small-vit

Parts of a trained network are replaced by smaller ones, all from one candidate. They learn only
from the teacher's outputs, in three ways: each part from its own drawn inputs; each part from its
inputs when drawn inputs run through the complete network; and all parts together, end to end, from
drawn inputs of the network. They are compared with the known samples, whose moments drawn inputs
have, and with the smaller network before training.

Every way has the same number of floating-point operations, including the teacher's: as many as
parts need that learn from their own inputs in `epochs` passes. Each tries the same learning rates,
extended if the best is at an end, and uses the rate with the best validation score.
"""

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.neighbourhoods import tables
from benchmarks.neighbourhoods.rates import searched
from beyondprop import tasks
from beyondprop.errors import UserError
from beyondprop.experiment.distil_apart import neighbourhoods
from beyondprop.experiment.distil_attempts import Training
from beyondprop.experiment.distil_costs import step_operations
from beyondprop.experiment.distil_data import Inputs, noise
from beyondprop.experiment.distil_lessons import end_to_end
from beyondprop.experiment.distil_setting import TEACHER_FOLDER, Setting, setting_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.growing import folder_name
from beyondprop.experiment.run import train
from beyondprop.experiment.setup import of_seed, read
from beyondprop.experiment.spec import RunSpec
from beyondprop.neighbourhoods import (
    DRAWS,
    Cache,
    DrawnInputs,
    Neighbourhood,
    Recipe,
    distil,
    layouts,
    make,
)
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.neighbourhoods.cost import step_operations as piece_step_operations
from beyondprop.neighbourhoods.sources import ACTIVATIONS
from beyondprop.registry import Spec, file_name

HIDDEN = Progress(disable=True)


@dataclass(frozen=True)
class Smaller:
    """The smaller network before training, with its own cost and the teacher's.

    Attributes:
        parts: The parts that the candidate can replace; all others stay the teacher's.
        model: The teacher with the smaller parts.
        teacher: Operations of the teacher per sample.
        pieces: Operations of the teacher's parts per sample, in total.
        students: Operations of a training step of the smaller parts per sample, each alone.
    """

    parts: tuple[Neighbourhood, ...]
    model: nn.Module
    teacher: int
    pieces: int
    students: int


def smaller(setting: Setting) -> Smaller:
    """Return the network with smaller parts.

    Raises:
        UserError: The candidate cannot replace any part.
    """
    teacher, candidate = setting.teacher, make(setting.spec.candidates[0])
    wanted = neighbourhoods(setting.spec, setting.task, teacher)
    probe, _ = setting.data.train.batch(torch.arange(2))
    found = layouts(teacher, wanted, probe)
    model, parts, pieces, students = copy.deepcopy(teacher), [], 0, 0
    for part in wanted:
        piece, call = part.piece(teacher), found[part.name].sample
        try:
            student = candidate.build(piece, call)
        except UserError:
            continue
        part.put(model, student)
        parts.append(part)
        pieces += forward_operations(piece, call)
        students += piece_step_operations(student, call)
    if not parts:
        raise UserError(f"no part of {setting.task.name} can be made smaller by {candidate.name}")
    whole = forward_operations(teacher, setting.sample)
    return Smaller(tuple(parts), model, whole, pieces, students)


@dataclass(frozen=True)
class Ground:
    """The common basis of the ways of one seed with the same inputs.

    Attributes:
        setting: The task, its known samples, and how inputs are drawn.
        own: The smaller network.
        total: The operations of each way.
        folder: The folder of the parts.
    """

    setting: Setting
    own: Smaller
    total: float
    folder: Path

    def parts(
        self,
        name: str,
        data: Any,
        recipe: Recipe,
        synthetic: DrawnInputs | None = None,
        captured: float = 0.0,
    ) -> Figures:
        """Return the results of parts that learn alone, with their operations.

        Args:
            name: The name of the way.
            data: The inputs of the network.
            recipe: The recipe of the parts.
            synthetic: The inputs that are drawn for parts.
            captured: Operations of the teacher before the parts learn.
        """
        setting, rate = self.setting, recipe.learning_rate
        student = f"rate {rate:g}"  # all rates share the captured activations
        try:
            library = distil(
                setting.teacher,
                self.own.parts,
                data,
                self.folder / name,
                {student: make(setting.spec.candidates[0])},
                recipe=recipe,
                cache=Cache(gib=setting.spec.cache_gib),
                progress=HIDDEN,
                synthetic=synthetic,
            )
        except UserError as error:
            return {"rate": rate, "failed": str(error)}
        choice = {name: student for name, of in library.students.items() if of}
        merged = library.merge(setting.teacher, choice)
        records = [library.students[each][student].record for each in choice]
        spent = captured + sum(each["training_operations"] for each in records)
        return setting.evaluated(merged) | {"rate": rate, "operations": spent}


def untaught(ground: Ground, rate: float) -> Figures:
    """Return the score of the smaller network before training."""
    return ground.setting.evaluated(ground.own.model) | {"rate": rate, "operations": 0.0}


def alone(ground: Ground, rate: float) -> Figures:
    """Return the results of parts that learn from their own drawn inputs."""
    setting = ground.setting
    data = Inputs(setting.data.train, setting.batch_size)
    return ground.parts("alone", data, taught(setting, rate), synthetic=setting.drawn)


def through(ground: Ground, rate: float) -> Figures:
    """Return the results of parts that learn from their inputs in the complete network."""
    setting, own = ground.setting, ground.own
    data: Any = Inputs(setting.data.train, setting.batch_size)
    if setting.drawn is not None:
        size, seed = setting.batch_size, setting.seed
        data = noise(setting.drawn, setting.data, setting.teacher, size, seed).first
    captured = float(setting.samples * own.teacher)
    batches = -(-setting.samples // setting.batch_size)
    rows = setting.samples / batches  # of a batch; the last one of a pass is smaller
    steps = round((ground.total - captured) / own.students / rows)
    if steps < 1:
        return {"rate": rate, "failed": "one pass of the teacher takes all operations"}
    recipe = replace(taught(setting, rate), epochs=-(-steps // batches), steps=steps)
    return ground.parts("through", data, recipe, captured=captured)


def all_together(ground: Ground, rate: float) -> Figures:
    """Return the result of the smaller network trained as a whole, from inputs of the network."""
    setting, model = ground.setting, ground.own.model
    begin, teach = partial(copy.deepcopy, model), partial(end_to_end, setting)
    found = Training(setting, begin, teach, "backprop", ground.total, rate).found(HIDDEN)
    if "failed" in found:
        return found
    rows = setting.samples / -(-setting.samples // setting.batch_size)
    lessons = teach()
    step = step_operations(setting, model, "backprop") + lessons.extra
    return found | {"operations": lessons.before + found["steps"] * rows * step}


def taught(setting: Setting, rate: float) -> Recipe:
    """Return the recipe of the parts."""
    return Recipe(
        epochs=setting.spec.epochs,
        batch_size=setting.batch_size,
        learning_rate=rate,
        seed=setting.seed,
    )


Way = Callable[[Ground, float], Figures]
FROM_NOISE: dict[str, Way] = {
    "parts, own inputs": alone,
    "parts, through all": through,
    "end to end": all_together,
}
FROM_SAMPLES: dict[str, Way] = {
    "nothing": untaught,
    "parts, through all": through,
    "end to end": all_together,
}
"""The ways to teach by kind of inputs; parts cannot have their own known samples."""
SAMPLES = "known samples"


@dataclass(frozen=True)
class Trial:
    """The training from one seed.

    Attributes:
        spec: The task, the candidate, rates, and known samples.
        drawn: Samples drawn per pass; None for the number of the task's training samples.
        seed: The seed of the teacher and of all training.
        folder: The folder of all runs with these settings.
    """

    spec: DistilSpec
    drawn: int | None
    seed: int
    folder: Path

    @property
    def own(self) -> Path:
        """The seed's folder."""
        return self.folder / f"seed-{self.seed}"

    def teacher(self) -> Figures:
        """Train the teacher, and return its score."""
        torch.set_num_threads(self.spec.threads)
        run = RunSpec(
            task=self.spec.task,
            rule="backprop",
            seed=self.seed,
            epochs=self.spec.teacher_epochs,
            measures=(),
        )
        record = train(run, self.own / TEACHER_FOLDER, resume=True, progress=HIDDEN)
        if record["status"] != "finished":
            raise UserError(f"the teacher {record['status']}: {record['reason']}")
        setting = self.ground().setting
        return setting.evaluated(setting.teacher)

    def by(self, way: Way) -> Figures:
        """Return the result of a way at its best rate."""
        torch.set_num_threads(self.spec.threads)
        ground = self.ground()
        found = searched(self.spec.rates, partial(way, ground)) | {"total": ground.total}
        if way is through:  # the captured activations would fill the disk
            shutil.rmtree(ground.folder / "through" / ACTIVATIONS, ignore_errors=True)
        return found

    def untaught(self, way: Way) -> Figures:
        """Return the result of a way without a search."""
        torch.set_num_threads(self.spec.threads)
        return way(self.ground(), 0.0)

    def ground(self) -> Ground:
        """Return the common basis of all ways."""
        spec = self.spec
        setting = setting_of(spec, self.seed, self.own)
        whole = of_seed(setting.task, read(setting.task, spec.data), self.seed)
        samples = self.drawn or len(whole.train)
        if setting.drawn is not None:
            setting = replace(setting, drawn=replace(setting.drawn, samples=samples))
        own = smaller(setting)
        total = float(spec.epochs * samples * (own.students + own.pieces))
        folder = self.folder / "parts" / file_name(f"{self.seed}-{spec.inputs or SAMPLES}")
        return Ground(setting, own, total, folder)


def main(
    task: str = "fashion-small-vit",
    blocks: list[str | tuple[str, ...]] | None = None,
    candidate: Spec = "narrower",
    cases: list[str] | None = None,
    known: int = 40,
    drawn: int | None = None,
    epochs: int = 10,
    teacher_epochs: int | None = None,
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    repeats: int = 3,
    workers: int = 2,
    runs: Path = Path("runs"),
    output: Path = Path("results/neighbourhoods/noise.json"),
) -> None:
    """Teach a smaller network by noise, in parts and as a whole.

    Args:
        task: Its name, or my.module:task.
        blocks: Names or patterns of the parts; by default all blocks of the task except the last.
        candidate: The candidate that replaces every part, if possible.
        cases: The kinds of drawn inputs; all by default.
        known: Training samples that define shapes and moments, and are compared with drawn inputs.
        drawn: Samples drawn per pass; by default the number of the task's training samples.
        epochs: Passes over the parts' own inputs, which define the computation of every way.
        teacher_epochs: Passes of the teachers' training; the task's by default.
        rates: Learning rates.
        repeats: The number of seeds, from 0.
        workers: Parallel runs, each with one thread.
        runs: Folder that caches finished runs.
        output: The file of the record.
    """
    started, draws = datetime.now(UTC), cases or list(DRAWS)
    spec = DistilSpec(
        task=task,
        blocks=None if blocks is None else tuple(blocks),
        candidates=(candidate,),
        epochs=epochs,
        teacher_epochs=teacher_epochs,
        rates=tuple(rates),
        samples=known,
        seeds=tuple(range(repeats)),
    )
    settings = {
        "task": task,
        "blocks": blocks,
        "candidate": candidate,
        "known": known,
        "drawn": drawn,
        "epochs": epochs,
        "teacher_epochs": teacher_epochs,
        "rates": list(rates),
    }
    folder = runs / folder_name("noise", task, settings)
    trials = [Trial(spec, drawn, seed, folder) for seed in spec.seeds]
    teachers = cached_runs(
        folder / "teachers", {f"teacher {each.seed}": each.teacher for each in trials}, workers
    )
    jobs = {
        f"{inputs}, {name}, {each.seed}": job
        for each in trials
        for inputs, name, job in jobs_of(each, draws)
    }
    found = cached_runs(folder / "ways", jobs, workers)
    names = dict.fromkeys(name.rpartition(", ")[0] for name in jobs)
    rows = [row("–", "teacher", list(teachers.values()))] + [
        row(*name.split(", ", 1), [found[f"{name}, {seed}"] for seed in spec.seeds])
        for name in names
    ]
    asked = {"draws": draws, "seeds": list(spec.seeds)}
    save("neighbourhoods/noise", settings | asked, rows, table(rows, task), started, output)


def jobs_of(trial: Trial, draws: Sequence[str]) -> list[tuple[str, str, Callable[[], Figures]]]:
    """Return the training jobs of a seed: the inputs, the way, and the job."""
    made: list[tuple[str, str, Callable[[], Figures]]] = []
    for name, way in FROM_SAMPLES.items():
        job = partial(trial.untaught if way is untaught else trial.by, way)
        made.append((SAMPLES, name, job))
    for draw in draws:
        own = replace(trial, spec=replace(trial.spec, inputs=draw))
        made += [(draw, name, partial(own.by, way)) for name, way in FROM_NOISE.items()]
    return made


def row(inputs: str, name: str, found: Sequence[Figures]) -> Figures:
    """Return the results of a way for each seed."""
    return {
        "inputs": inputs,
        "taught": name,
        "failed": next((each["failed"] for each in found if "failed" in each), None),
        "edge": any(each.get("edge", False) for each in found),
    } | {
        key: [each.get(key) for each in found]
        for key in ("score", "validation_score", "rate", "operations", "total")
    }


def table(rows: list[Figures], task: str) -> Table:
    """Return the table of the results."""
    return Table(
        f"A smaller network for {task}, taught by noise",
        *tables.noise(rows),
        notes=tables.noise_notes(rows, tasks.find(task).metric_name),
    )


if __name__ == "__main__":
    command_line(main)
