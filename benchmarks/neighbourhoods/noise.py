"""Single neighbourhoods against the whole network, taught by noise, at equal computation.

    python -m benchmarks.neighbourhoods.noise --task fashion-small-vit

Parts of a trained network are replaced by smaller ones, all by one candidate. These learn from the
teacher's outputs alone, in three ways: each part from drawn inputs of its own; each part from what
reaches it where drawn inputs run through the whole network; and all of them together, end to end,
from drawn inputs of the network. Beside them stand the known samples themselves, of which drawn
inputs take their moments, and the smaller network before it learns.

Every way has as many floating-point operations, the teacher's among them, as parts take that learn
from inputs of their own in `epochs` passes. Each tries the same learning rates, and further ones
where the best is at an end, and takes the one that serves it best on the validation data.
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
    """The smaller network before it learns, and what it and its teacher cost.

    Attributes:
        parts: Those of which the candidate can be built; all else stays the teacher's.
        model: The teacher with the smaller parts.
        teacher: Operations of a sample in the teacher.
        pieces: The same of the parts in the teacher, together.
        students: Operations of a sample in a training step of the smaller parts, each alone.
    """

    parts: tuple[Neighbourhood, ...]
    model: nn.Module
    teacher: int
    pieces: int
    students: int


def smaller(setting: Setting) -> Smaller:
    """Return the network with smaller parts.

    Raises:
        UserError: No part can be made smaller so.
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
    """What the ways of one seed have in common that take the same inputs.

    Attributes:
        setting: The task, its known samples, and how inputs are drawn.
        own: The smaller network.
        total: Operations of each way.
        folder: Where parts are kept.
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
        """Return what parts reach that learn alone, and their operations.

        Args:
            name: Of the way.
            data: Inputs of the network.
            recipe: How parts learn.
            synthetic: How inputs of parts are drawn.
            captured: Operations of the teacher before they learn.
        """
        setting, rate = self.setting, recipe.learning_rate
        student = f"rate {rate:g}"  # all rates share what is captured
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
    """Return what the smaller network scores before it learns."""
    return ground.setting.evaluated(ground.own.model) | {"rate": rate, "operations": 0.0}


def alone(ground: Ground, rate: float) -> Figures:
    """Return what parts reach, each from drawn inputs of its own."""
    setting = ground.setting
    data = Inputs(setting.data.train, setting.batch_size)
    return ground.parts("alone", data, taught(setting, rate), synthetic=setting.drawn)


def through(ground: Ground, rate: float) -> Figures:
    """Return what parts reach, each from what reaches it in the whole network."""
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
    """Return what the smaller network reaches as a whole, from inputs of the network."""
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
    """Return how parts learn."""
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
"""What is taught; there is no way to give parts known samples of their own."""
SAMPLES = "known samples"


@dataclass(frozen=True)
class Trial:
    """What is trained from one seed.

    Attributes:
        spec: The task, the candidate, rates, and known samples.
        drawn: Samples that are drawn in a pass; None: as many as the task has for training.
        seed: Of the teacher and of all training.
        folder: Of all runs with these settings.
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
        """Train the teacher, and return what it scores."""
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
        """Return what a way reaches at the rate that serves it best."""
        torch.set_num_threads(self.spec.threads)
        ground = self.ground()
        found = searched(self.spec.rates, partial(way, ground)) | {"total": ground.total}
        if way is through:  # what was captured would fill the disk
            shutil.rmtree(ground.folder / "through" / ACTIVATIONS, ignore_errors=True)
        return found

    def untaught(self, way: Way) -> Figures:
        """Return what is reached where there is nothing to search."""
        torch.set_num_threads(self.spec.threads)
        return way(self.ground(), 0.0)

    def ground(self) -> Ground:
        """Return what all ways have in common."""
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
        blocks: Names or patterns of the parts; the task's blocks but the last by default.
        candidate: By which every part is made smaller, where it can be.
        cases: How inputs are drawn; all ways by default.
        known: Training samples that show forms and moments, and that are beside drawn inputs.
        drawn: Samples that are drawn in a pass; as many as the task has for training by default.
        epochs: Passes over inputs of the parts' own; they say how much every way computes.
        teacher_epochs: Passes by which teachers are trained; the task's by default.
        rates: Learning rates.
        repeats: How many seeds, from 0 on.
        workers: Parallel runs, each with one thread.
        runs: Folder for what is finished, which is not done again.
        output: Where the record goes.
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
    """Return what is trained from a seed: inputs, what is taught, and the job."""
    made: list[tuple[str, str, Callable[[], Figures]]] = []
    for name, way in FROM_SAMPLES.items():
        job = partial(trial.untaught if way is untaught else trial.by, way)
        made.append((SAMPLES, name, job))
    for draw in draws:
        own = replace(trial, spec=replace(trial.spec, inputs=draw))
        made += [(draw, name, partial(own.by, way)) for name, way in FROM_NOISE.items()]
    return made


def row(inputs: str, name: str, found: Sequence[Figures]) -> Figures:
    """Return what a way reaches from each seed."""
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
    """Return the figures to read."""
    return Table(
        f"A smaller network for {task}, taught by noise",
        *tables.noise(rows),
        notes=tables.noise_notes(rows, tasks.find(task).metric_name),
    )


if __name__ == "__main__":
    command_line(main)
