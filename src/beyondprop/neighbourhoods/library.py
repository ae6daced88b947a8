"""The students of a teacher's neighbourhoods, and the models assembled from them."""

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
"""The record key of the digest that identifies a candidate or a recipe; see `described`."""
PIECES = "pieces"
"""The folder of students within a distillation's folder."""


@dataclass(frozen=True)
class Student:
    """A trained student of one neighbourhood.

    Attributes:
        neighbourhood: The neighbourhood that it can replace.
        candidate: The candidate that built it.
        folder: Holds its weights and its record.
        error: Its distance from the teacher's piece on the validation data, or on the training data
            if there is no validation data.
        record: The complete record of its training.
    """

    neighbourhood: Neighbourhood
    candidate: Candidate
    folder: Path
    error: float
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Library:
    """The students of a teacher's neighbourhoods, from which models are assembled.

    Attributes:
        neighbourhoods: The neighbourhoods, in the order of the model's modules.
        samples: A call of one sample for each neighbourhood, by name.
        students: Students by the neighbourhood's name, then by the candidate's label.
    """

    neighbourhoods: tuple[Neighbourhood, ...]
    samples: Mapping[str, Call]
    students: Mapping[str, Mapping[str, Student]] = field(default_factory=dict)

    def merge(self, teacher: nn.Module, choice: Mapping[str, str]) -> nn.Module:
        """Return a copy of the teacher with students in place of its pieces, in eval mode.

        Args:
            teacher: The teacher of this library.
            choice: Labels of candidates by the names of neighbourhoods; neighbourhoods that are not
                named keep the teacher's piece.

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
    """Return the library that `distil` stored in a folder, without training.

    Args:
        teacher: The teacher, in eval mode, with the same weights as before.
        neighbourhoods: The neighbourhoods, from `split`.
        batch: Inputs of the teacher: any samples, at least two.
        folder: The folder of the distillation.
        candidates: Candidates by the same labels as before. Students of another piece or another
            candidate, and students that are not complete, are left out.

    Raises:
        UserError: There is no matching student at all, or the teacher can't be split like this.
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
    """Return the record of the student in a folder, or None if there is none.

    Raises:
        StorageError: The file cannot be read, or is not the record of a student.
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
    """Return everything that determines a student's initial state.

    Raises:
        UserError: The candidate cannot be identified by a digest.
    """
    return {
        "piece": digest_of_model(piece),
        "candidate": settings(candidate, "candidate")
        | {DIGEST: digest_of(candidate, f"the candidate '{candidate.name}'")},
    }


def place_of(folder: Path, neighbourhood: Neighbourhood, label: str) -> Path:
    """Return the folder of a student."""
    return folder / PIECES / file_name(neighbourhood.name) / file_name(label)
