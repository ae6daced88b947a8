"""Aligned files of CMU's multimodal SDK: MOSI, MOSEI, IEMOCAP, POM.

Zadeh et al., "Multi-attention recurrent network for human communication comprehension", AAAI 2018.
None of these data sets is in this package.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.modalities.network import PRESENT
from beyondprop.models.encoders import Frames
from beyondprop.rules import CRITERIA, Classes, Criterion, Values
from beyondprop.tasks import files
from beyondprop.tasks.base import Task, known_fields, name_of
from beyondprop.tasks.kinds import scoring
from beyondprop.tasks.metrics import negative_mae
from beyondprop.tasks.multimodal.common import Encoder, of_modalities, scale
from beyondprop.tasks.multimodal.csd import Sequences, read
from beyondprop.tasks.samples import Data, Split

ENDING = ".csd"
FOLDS = ("train", "validation", "test")


@dataclass(frozen=True)
class Aligned:
    """A folder of aligned files. Called with a data folder or None, it returns the data.

    Attributes:
        path: The folder.
        labels: Name of the file of labels, without its suffix.
        modalities: Names of the other files to use.
        columns: Columns of the labels; None for all.
        kind: Kind of the targets.
        length: Number of frames of a segment that are read.
        folds: Names of the videos in each split.
    """

    path: Path
    labels: str
    modalities: tuple[str, ...]
    columns: tuple[int, ...] | None
    kind: Criterion
    length: int
    folds: Mapping[str, Sequence[str]]

    def __call__(self, folder: Path | None = None) -> Data:
        """Return the data, see `made`.

        Raises:
            UserError: A file cannot be read or used; or a folder is given.
        """
        return self.made(folder)[0]

    def made(self, folder: Path | None = None) -> tuple[Data, dict[str, int], int]:
        """Return the data, the width of each modality, and the number of outputs that a model
        needs.

        A modality is a pair: frames ``(n, length, width)``, standardised by the training split and
        padded by zeros, and their numbers, ``(n,)``. If a segment lacks a modality, inputs also
        contain a mask ``present``, ``(n, modalities)`` bool.

        Raises:
            UserError: A file cannot be read or used; or a folder is given.
        """
        files.check_own(self.path, folder)
        labels = read(self.path / f"{self.labels}{ENDING}")
        labels = {name: each for name, each in labels.items() if each[0].isfinite().all()}
        sources = [read(self.path / f"{name}{ENDING}") for name in self.modalities]
        parts = [self._segments(fold, labels, sources) for fold in FOLDS]
        present = [
            torch.tensor([[name in each for each in sources] for name in names]) for names in parts
        ]
        inputs: list[dict[str, Any]] = [{} for _ in parts]
        for name, source in zip(self.modalities, sources, strict=True):
            made = [padded(source, names, self.length) for names in parts]
            for given, value in zip(inputs, standardised(made), strict=True):
                given[called(name)] = value
        if not all(bool(each.all()) for each in present):
            for given, mask in zip(inputs, present, strict=True):
                given[PRESENT] = mask
        targets, outputs = self._targets([torch.stack([labels[n][0] for n in ns]) for ns in parts])
        train, validation, test = map(Split, inputs, targets)
        classes = tuple(map(str, range(outputs))) if isinstance(self.kind, Classes) else ()
        widths = {
            called(name): next(iter(each.values())).shape[1]
            for name, each in zip(self.modalities, sources, strict=True)
        }
        data = Data(self.path.resolve().name, train, validation, test, classes)
        return data, widths, outputs

    def _segments(self, fold: str, labels: Sequences, sources: Sequence[Sequences]) -> list[str]:
        """Return the names of a split's segments that have a label and a modality."""
        videos = set(self.folds[fold])
        known = sorted(name for name in labels if name.partition("[")[0] in videos)
        found = [name for name in known if any(name in each for each in sources)]
        if not found:
            raise UserError(f"{self.path} has no labelled segment of the {fold} split's videos")
        return found

    def _targets(self, rows: Sequence[Tensor]) -> tuple[list[Tensor], int]:
        """Return the targets of each split, and the number of outputs that they need."""
        width = rows[0].shape[1]
        columns = range(width) if self.columns is None else self.columns
        if wrong := [each for each in columns if not 0 <= each < width]:
            raise UserError(f"{self.labels} has columns 0 to {width - 1}, and no {wrong[0]}")
        taken = [each[:, list(columns)] for each in rows]  # (n, columns)
        if isinstance(self.kind, Values):
            return taken, len(columns)
        if not isinstance(self.kind, Classes):
            return [each > 0 for each in taken], len(columns)
        if len(columns) > 1:  # a mark for each class
            return [each.argmax(1) for each in taken], len(columns)
        whole = torch.cat(taken)
        if (whole != whole.round()).any() or whole.min() < 0:
            raise UserError(
                f"column {columns[0]} of {self.labels} holds numbers that are not classes from 0: "
                'use kind="values"'
            )
        return [each[:, 0].long() for each in taken], int(whole.max()) + 1


def padded(source: Sequences, names: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Return frames ``(n, length, width)``, cut or padded by zeros, and their numbers ``(n,)``.

    A missing segment is one frame of zeros. Numbers that are not finite become zero: COVAREP has
    them where there is no voice.
    """
    width = next(iter(source.values())).shape[1]
    frames, counts = torch.zeros(len(names), length, width), torch.ones(len(names)).long()
    for place, name in enumerate(names):
        if name in source:
            cut = source[name][:length].nan_to_num(0.0, 0.0, 0.0)
            frames[place, : len(cut)], counts[place] = cut, len(cut)
    return frames, counts


def standardised(parts: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return the splits of a modality, each feature standardised by the frames of the first one."""
    mean, deviation = scale(parts[0][0][inside(*parts[0])])
    return [(torch.where(inside(x, n)[..., None], (x - mean) / deviation, 0), n) for x, n in parts]


def inside(frames: Tensor, counts: Tensor) -> Tensor:
    """Return which frames are not padding, ``(n, length)`` bool."""
    return torch.arange(frames.shape[1]) < counts[:, None]


def called(name: str) -> str:
    """Return a modality's name in a form valid for modules: "OpenFace_2.0" is "OpenFace_2_0"."""
    return re.sub(r"\W", "_", name)


def from_aligned(
    path: Path | str,
    labels: str,
    *,
    modalities: Sequence[str] | None = None,
    columns: Sequence[int] | None = None,
    kind: Criterion | str = "values",
    length: int = 50,
    folds: Mapping[str, Sequence[str]] | None = None,
    **fields: Any,
) -> Task:
    """Return a task of a folder of aligned files of CMU's multimodal SDK.

    The folder contains a file NAME.csd for each modality and one for the labels, as the SDK's
    ``deploy`` writes them after ``align``. Segments have names of the form VIDEO[NUMBER].

    Args:
        path: The folder.
        labels: Name of the file of labels, without its suffix: "Opinion Segment Labels".
        modalities: Names of the files to use; by default all others.
        columns: Columns of the labels, counted from 0; by default all. MOSEI's first is the
            sentiment.
        kind: Kind of the labels: `Values` (the score is the negative mean absolute error), `Labels`
            (above zero is yes) or `Classes` (a column of classes, or a column for each); or
            "values", "labels", "classes".
        length: Number of frames of a segment that are read; later ones are left out.
        folds: Names of videos for "train", "validation" and "test". By default they are read from
            ``train.txt``, ``validation.txt`` and ``test.txt`` in the folder, one name per line.
        fields: Fields of the task that replace its defaults: ``model``, ``epochs``, ...

    Raises:
        UserError: A file cannot be read, or a named file or column is missing.
    """
    folder = Path(path).expanduser()
    names = sorted(each.name.removesuffix(ENDING) for each in folder.glob(f"*{ENDING}"))
    taken = [name for name in names if name != labels] if modalities is None else list(modalities)
    if missing := [name for name in (labels, *taken) if name not in names]:
        raise UserError(
            f"{folder} has no {missing[0]}{ENDING}; it has {', '.join(names) or 'none'}"
        )
    if not taken or len(set(map(called, taken))) < len(taken) or length < 1:
        raise UserError("give one modality or more, each once, and a length above 0")
    load = Aligned(
        folder,
        labels,
        tuple(taken),
        None if columns is None else tuple(columns),
        CRITERIA.make(kind),
        length,
        checked(folds_of(folder) if folds is None else folds),
    )
    data, widths, outputs = load.made()
    own: dict[str, Any] = {
        "name": name_of(folder.resolve()),
        "summary": f"{labels} of {data.name}, from {', '.join(widths)}",
        "load": load,
        "encoders": {name: Encoder(Frames, (width,)) for name, width in widths.items()},
        "outputs": outputs,
        **scored(load.kind),
        "epochs": 20,
        "batch_size": 32,
    }
    return of_modalities(**own | known_fields(fields))


def scored(kind: Criterion) -> dict[str, Any]:
    """Return the loss and metric fields of a task for this kind of targets."""
    own = {"metric": negative_mae, "metric_name": "negative mean absolute error"}
    return scoring(kind) | (own if isinstance(kind, Values) else {})


def folds_of(folder: Path) -> dict[str, Sequence[str]]:
    """Return the names of videos that the files in a folder list.

    Raises:
        UserError: A file is missing.
    """
    return {
        fold: files.read(folder / f"{fold}.txt").decode("utf-8", "replace").split()
        for fold in FOLDS
    }


def checked(folds: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return lists of videos by the names of splits.

    Raises:
        UserError: The splits have other names, or share a video.
    """
    if set(folds) != set(FOLDS):
        raise UserError(f"folds are {', '.join(FOLDS)}, not {', '.join(folds)}")
    where: dict[str, str] = {}
    for fold in FOLDS:
        if shared := [video for video in set(folds[fold]) if video in where]:
            raise UserError(f"video {shared[0]} is in {where[shared[0]]} and in {fold}")
        where |= dict.fromkeys(folds[fold], fold)
    return {fold: tuple(folds[fold]) for fold in FOLDS}
