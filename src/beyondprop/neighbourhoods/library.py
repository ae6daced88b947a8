"""The students of a teacher's neighbourhoods, and the models that they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from beyondprop._torch.weights import WEIGHTS, read_weights
from beyondprop.errors import UserError
from beyondprop.files import StorageError, read_json
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.labels import check_named
from beyondprop.neighbourhoods.layout import layouts
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood, merged
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import Batch
from beyondprop.pieces.described import digest_of
from beyondprop.registry import file_name, settings

RECORD = "record.json"
DIGEST = "digest"
"""Key of what tells a candidate or a recipe from others that print alike; see `described`."""
PIECES = "pieces"
"""The folder of students in that of a distillation."""


@dataclass(frozen=True)
class Student:
    """A student of one neighbourhood, trained.

    Attributes:
        neighbourhood: That it can replace.
        candidate: Built it.
        folder: Holds its weights and its record.
        error: Its distance from the teacher's piece on the validation data, or without such data on
            what it was trained on.
        record: All that is known of it.
    """

    neighbourhood: Neighbourhood
    candidate: Candidate
    folder: Path
    error: float
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Library:
    """The students of a teacher's neighbourhoods, from which models are put together.

    Attributes:
        neighbourhoods: In the order of the model's modules.
        samples: A call of one sample of each, by name.
        students: By the neighbourhood's name, each by its candidate's label.
    """

    neighbourhoods: tuple[Neighbourhood, ...]
    samples: Mapping[str, Call]
    students: Mapping[str, Mapping[str, Student]] = field(default_factory=dict)

    def merge(self, teacher: nn.Module, choice: Mapping[str, str]) -> nn.Module:
        """Return a copy of the teacher with students in place of its pieces, in eval mode.

        Args:
            teacher: Of this library.
            choice: Labels of candidates by the names of neighbourhoods; those that are not named
                keep the teacher's piece.

        Raises:
            UserError: There is no such student.
            StorageError: Its weights cannot be read.
        """
        pieces = {}
        for each in self.neighbourhoods:
            if each.name in choice:
                pieces[each] = self.piece(teacher, each, choice[each.name])
        if unknown := set(choice) - {each.name for each in self.neighbourhoods}:
            raise UserError(f"there is no neighbourhood {sorted(unknown)[0]!r}")
        return merged(teacher, pieces)

    def piece(self, teacher: nn.Module, neighbourhood: Neighbourhood, label: str) -> nn.Module:
        """Return a student with its weights.

        Raises:
            UserError: There is no such student.
            StorageError: Its weights cannot be read.
        """
        known = self.students[neighbourhood.name]
        if label not in known:
            raise UserError(
                f"'{neighbourhood.name}' has no student {label!r}; it has {', '.join(known)}"
            )
        student = known[label]
        call = self.samples[neighbourhood.name]
        built = student.candidate.build(neighbourhood.piece(teacher), call)
        state = read_weights(student.folder / WEIGHTS, student.record["weights_sha256"])
        built.load_state_dict(state)
        return built.eval()


def opened(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    batch: Batch,
    folder: Path,
    candidates: Mapping[str, Candidate],
) -> Library:
    """Return the library that `distil` has left in a folder; nothing is trained.

    Args:
        teacher: In eval mode, with the weights that it had.
        neighbourhoods: From `split`.
        batch: What the teacher is called with: two samples at least, any ones.
        folder: Of the distillation.
        candidates: By the labels that they had. A student of another piece, or by another
            candidate of its label, is left out, and so is one that is not finished.

    Raises:
        UserError: There is no such student at all, or the teacher can't be taken apart so.
        StorageError: A file cannot be read.
    """
    check_named(neighbourhoods, candidates)
    samples = {name: each.sample for name, each in layouts(teacher, neighbourhoods, batch).items()}
    students: dict[str, dict[str, Student]] = {}
    for each in neighbourhoods:
        piece, students[each.name] = each.piece(teacher), {}
        for label, candidate in candidates.items():
            place = place_of(folder, each, label)
            record = record_in(place)
            asked = asked_of(piece, candidate)
            if record is not None and {key: record["asked"].get(key) for key in asked} == asked:
                known = Student(each, candidate, place, record["error"], record)
                students[each.name][label] = known
    if not any(students.values()):
        raise UserError(f"{folder} has no student of this teacher by these candidates")
    return Library(tuple(neighbourhoods), samples, students)


def record_in(folder: Path) -> dict[str, Any] | None:
    """Return the record of the student in a folder, None where there is none.

    Raises:
        StorageError: It cannot be read, or is another thing's.
    """
    found = read_json(folder / RECORD, f"delete {folder} and run again")
    if found is None:
        return None
    kinds: dict[str, Any] = {
        "title": str,
        "asked": dict,
        "error": (int, float),
        "cost": dict,
        "training_operations": (int, float),
        "weights_sha256": str,
    }
    known = all(isinstance(found.get(key), kind) for key, kind in kinds.items())
    if not known or not all(isinstance(each, int | float) for each in found["cost"].values()):
        raise StorageError(
            f"{folder / RECORD} is not the record of a student: delete {folder} and run again"
        )
    return found


def asked_of(piece: nn.Module, candidate: Candidate) -> dict[str, Any]:
    """Return what decides how a student begins.

    Raises:
        UserError: The candidate cannot be told from another one.
    """
    return {
        "piece": digest_of_model(piece),
        "candidate": settings(candidate, "candidate")
        | {DIGEST: digest_of(candidate, f"the candidate '{candidate.name}'")},
    }


def place_of(folder: Path, neighbourhood: Neighbourhood, label: str) -> Path:
    """Return the folder of a student."""
    return folder / PIECES / file_name(neighbourhood.name) / file_name(label)
