"""Distillation piece by piece: every candidate of every neighbourhood is an independent job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from beyondprop._torch.threads import threads_set
from beyondprop._torch.weights import WEIGHTS, read_weights, weights
from beyondprop.errors import UserError
from beyondprop.files import write_bytes, write_json
from beyondprop.jobs import SERIAL, Executor, Job, Outcome, Workers, places
from beyondprop.jobs.lock import held
from beyondprop.jobs.progress import bars
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.capture import Cache
from beyondprop.neighbourhoods.cost import cost_of
from beyondprop.neighbourhoods.interfaces import built
from beyondprop.neighbourhoods.labels import check_named
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.library import (
    DIGEST,
    RECORD,
    Library,
    Student,
    asked_of,
    place_of,
    record_in,
)
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.sources import (
    check_source,
    from_draws,
    from_files,
    from_teacher,
)
from beyondprop.neighbourhoods.synthetic import DrawnInputs
from beyondprop.neighbourhoods.training import error, teach
from beyondprop.pieces.data import Batch
from beyondprop.pieces.described import digest_of
from beyondprop.pieces.training import Recipe
from beyondprop.registry.settings import plain


@dataclass(frozen=True, eq=False)
class Subject:
    """A neighbourhood for which students are trained.

    Attributes:
        neighbourhood: Its place in the model.
        piece: The teacher's piece.
        layout: The layout of its calls.
        taught: The activations that students are trained on.
        judged: The activations that students are evaluated on.
    """

    neighbourhood: Neighbourhood
    piece: nn.Module
    layout: Layout
    taught: Activations
    judged: Activations


@dataclass(frozen=True, eq=False)
class Lesson:
    """A job that builds and trains a candidate's student, and stores it in its folder.

    Attributes:
        subject: The neighbourhood.
        label: The label of the candidate.
        candidate: The candidate.
        recipe: The training recipe.
        folder: The folder of the student.
        asked: Everything that determines the result; a stored student with the same is reused.
    """

    subject: Subject
    label: str
    candidate: Candidate
    recipe: Recipe
    folder: Path
    asked: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The job's displayed name."""
        return f"{self.subject.neighbourhood.name}, {self.label}"

    def earlier(self) -> dict[str, Any] | None:
        """Return the record of a student that an earlier call completed, or None."""
        found, kept = record_in(self.folder), self.folder / WEIGHTS
        if found is None or found["asked"] != self.asked or not kept.exists():
            return None
        read_weights(kept, found["weights_sha256"])
        return found

    def work(self, progress: Progress) -> dict[str, Any]:
        """Build, train, evaluate and store the student; return its record."""
        with threads_set(self.recipe.threads):
            return self._done(progress)

    def _done(self, progress: Progress) -> dict[str, Any]:
        subject, recipe = self.subject, self.recipe
        call = subject.layout.sample
        student = built(self.candidate, subject.piece, subject.layout)
        curve = teach(student, subject.taught, recipe, progress, self.title)
        found = error(student, subject.judged, recipe.distance, recipe.batch_size)
        content = weights(student)
        record = {
            "title": self.title,
            "asked": dict(self.asked),
            "error": found,
            "errors": list(curve.errors),
            "steps": curve.steps,
            "cost": asdict(cost_of(student, call)),
            "training_operations": curve.operations + curve.samples * subject.taught.operations,
            "weights_sha256": hashlib.sha256(content).hexdigest(),
        }
        write_bytes(self.folder / WEIGHTS, content)
        write_json(self.folder / RECORD, record)
        return record


def lesson(
    subject: Subject, label: str, candidate: Candidate, recipe: Recipe, folder: Path
) -> Lesson:
    """Return the job of one candidate of one neighbourhood; the folder is the distillation's.

    Raises:
        UserError: The candidate or the recipe cannot be identified by a digest.
    """
    given = vars(recipe)
    asked = asked_of(subject.piece, candidate) | {
        "recipe": plain(given) | {DIGEST: digest_of(given, "the recipe")},
        "activations": [subject.taught.digest, subject.judged.digest],
    }
    place = place_of(folder, subject.neighbourhood, label)
    return Lesson(subject, label, candidate, recipe, place, asked)


def check_told(candidates: Mapping[str, Candidate], recipe: Recipe) -> None:
    """Raise early unless all candidates and the recipe can be identified by digests.

    Raises:
        UserError: A candidate or the recipe has no digest.
    """
    digest_of(vars(recipe), "the recipe")
    for each in candidates.values():
        digest_of(each, f"the candidate '{each.name}'")


def distil(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    folder: Path,
    candidates: Mapping[str, Candidate],
    *,
    recipe: Recipe | None = None,
    validation: Iterable[Batch] | None = None,
    cache: Cache | None = None,
    workers: Workers = SERIAL,
    progress: Progress | None = None,
    synthetic: DrawnInputs | None = None,
    streamed: bool = False,
) -> Library:
    """Train every candidate of every neighbourhood on its own, and return the students.

    Students already complete in the folder are reused, even if an earlier call was killed. A
    candidate that can't be built from a neighbourhood's piece is reported and left out; a job that
    fails is tried again in the next call.

    Args:
        teacher: The teacher, in eval mode.
        neighbourhoods: The neighbourhoods, from `split`.
        data: Batches of the teacher's inputs, the same each time.
        folder: Holds activations and students.
        candidates: Candidates by label.
        recipe: The training recipe of students.
        validation: Batches on which students are evaluated.
        cache: How activations are stored.
        workers: The workers that train; this process alone by default.
        progress: Draws the progress bars.
        synthetic: How inputs of neighbourhoods are drawn at random. The data is then a few known
            samples, which show forms and moments, and is not stored; without validation data,
            students are evaluated on other drawn inputs, which they were not trained on.
        streamed: Whether the teacher recomputes activations in each pass, so that none are stored;
            batches are then those of the data, and each worker holds the complete teacher.

    Raises:
        UserError: The teacher can't be split like this, there is no data, a neighbourhood has no
            inputs that can be drawn, or there is no student at all.
        StorageError: A file cannot be read or written.
    """
    own, shown, kept = recipe or Recipe(), progress or bars(), cache or Cache()
    check_named(neighbourhoods, candidates)
    check_told(candidates, own)
    check_source(cache, synthetic, streamed)
    place = places.find(workers, own.threads)
    with held(folder), shown:
        given = (teacher, neighbourhoods, data, validation)
        if streamed:
            seen = from_teacher(*given)
        elif synthetic is not None:
            seen = from_draws(*given, folder, kept, synthetic)
        else:
            seen = from_files(*given, folder, kept)
        subjects = [
            Subject(
                each,
                each.piece(teacher),
                seen.layouts[each.name],
                seen.taught[each.name],
                seen.judged[each.name],
            )
            for each in neighbourhoods
        ]
        lessons = [
            lesson(each, label, one, own, folder)
            for each in subjects
            for label, one in candidates.items()
        ]
        with Executor(folder, shown, place) as executor:
            jobs = [Job(each.title, each.work, each.earlier) for each in lessons]
            outcomes = executor.perform("students", jobs, told)
    results = dict(zip(lessons, outcomes, strict=True))
    if all(outcome.error is not None for outcome in outcomes):
        reasons = "; ".join(str(each.error) for each in outcomes[:3])
        raise UserError(f"no student could be trained ({reasons})")
    samples = {name: layout.sample for name, layout in seen.layouts.items()}
    return Library(tuple(neighbourhoods), samples, shelved(neighbourhoods, results))


def shelved(
    neighbourhoods: Sequence[Neighbourhood], made: Mapping[Lesson, Outcome]
) -> dict[str, dict[str, Student]]:
    """Return the students that were trained, by neighbourhood and label."""
    shelves: dict[str, dict[str, Student]] = {each.name: {} for each in neighbourhoods}
    for each, outcome in made.items():
        if outcome.error is None:
            record = outcome.value
            place = each.subject.neighbourhood
            shelves[place.name][each.label] = Student(
                place, each.candidate, each.folder, record["error"], record
            )
    return shelves


def told(record: Mapping[str, Any]) -> str:
    """Return a student's record as one line."""
    return f"{record['title']} · error {record['error']:.4f}"
