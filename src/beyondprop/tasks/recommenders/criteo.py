"""Clicks in files of Criteo's format, with five networks for them.

A line is a label, 13 whole numbers and 26 categories between tabs; a cell may be empty. This is the
format of ``train.txt`` of the Kaggle display advertising challenge (2014). The networks have the
sizes of Launay et al. 2020.
"""

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.models.recommender import (
    AFN,
    AutoInt,
    Blocks,
    DeepCross,
    DeepFM,
    FactorisationMachine,
)
from beyondprop.tasks import files
from beyondprop.tasks.base import Task
from beyondprop.tasks.recommenders.clicks import scored
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import in_three

NUMBERS, CATEGORIES = 13, 26
CELLS = 1 + NUMBERS + CATEGORIES
DEEP = (400, 400, 400)


@dataclass(frozen=True)
class CriteoFile:
    """A file in Criteo's format. Called with a data folder or None, it returns the data.

    Attributes:
        path: The file, which may be compressed by gzip.
        least: Minimum number of training rows with a value; rarer ones are merged into one value,
            number 0.
        rows: Number of lines that are read; None for all.
    """

    path: Path
    least: int
    rows: int | None

    def __call__(self, folder: Path | None) -> Data:
        """Return the data.

        Raises:
            UserError: The file cannot be read, or has another format; or a folder is given.
        """
        return self.made(folder)[0]

    def made(self, folder: Path | None = None) -> tuple[Data, tuple[int, ...]]:
        """Return the data, with 80, 10 and 10 % of each label's lines at random, and the number of
        values of each of the 39 fields.

        Raises:
            UserError: The file cannot be read, or has another format.
        """
        files.check_own(self.path, folder)
        if self.rows is not None and self.rows < 1:
            raise UserError(f"rows must be a whole number > 0, not {self.rows}")
        path = self.path
        clicks, fields = self._read(path)
        labels = torch.tensor(clicks).long()
        if len(found := labels.unique()) < 2:
            told = "no click" if not int(found[0]) else "nothing but clicks"
            raise UserError(f"{path} holds {told}: a task of clicks needs lines with 0 and with 1")
        parts = in_three(labels, (0.1, 0.1), 0, ("0", "1"), path.name)
        inputs, sizes = torch.empty(len(clicks), len(fields), dtype=torch.int64), []
        for place, field in enumerate(fields):
            values, size = _coded(np.frombuffer(field, np.int32), parts[0].numpy(), self.least)
            inputs[:, place] = torch.from_numpy(values)
            sizes.append(size)
        targets = labels.bool()
        train, validation, test = (Split(inputs[part], targets[part]) for part in parts)
        return Data(path.name, train, validation, test), tuple(sizes)

    def _read(self, path: Path) -> tuple["array[int]", list["array[int]"]]:
        """Return the labels, and for each field the number of the value in each line."""
        clicks, fields = array("b"), [array("i") for _ in range(CELLS - 1)]
        known: list[dict[str | int, int]] = [{} for _ in fields]
        for number, line in enumerate(islice(files.lines(path), self.rows), 1):
            label, *cells = line.rstrip("\r\n").split("\t")
            if label not in ("0", "1") or len(cells) != CELLS - 1:
                raise UserError(
                    f"{path}: line {number} is not a label 0 or 1, {NUMBERS} whole numbers and "
                    f"{CATEGORIES} categories between tabs"
                )
            clicks.append(int(label))
            try:
                values = [*map(bucket, cells[:NUMBERS]), *cells[NUMBERS:]]
            except ValueError as error:
                raise UserError(f"{path}: line {number} has no whole number ({error})") from error
            for field, numbers, value in zip(fields, known, values, strict=True):
                field.append(numbers.setdefault(value, len(numbers)))
        if not clicks:
            raise UserError(f"{path} holds no line")
        return clicks, fields


def bucket(cell: str) -> str | int:
    """Return the category of a number: above 2 the integer part of its squared logarithm.

    The winners of the challenge used this transformation, and later work does too.
    """
    if not cell:
        return cell
    number = int(cell)
    return math.floor(math.log(number) ** 2) if number > 2 else number - 2


def _coded(values: Any, train: Any, least: int) -> tuple[Any, int]:
    """Return value numbers from 1, with 0 for values too rare in training, and their count."""
    kept = np.bincount(values[train], minlength=values.max() + 1) >= least
    return np.where(kept, kept.cumsum(), 0)[values].astype(np.int64), 1 + int(kept.sum())


def criteo_fm(path: str, least: int = 10, rows: int | None = None) -> Task:
    """Return the task of a file in Criteo's format with only a factorisation machine.

    Args:
        path: The file.
        least: Minimum number of training rows with a value; rarer ones are merged into one value.
        rows: Number of lines that are read; by default all.

    Raises:
        UserError: The file cannot be read, or has another format.
    """
    return _task("fm", CriteoFile(Path(path), least, rows), FactorisationMachine, None, 2048, 1e-4)


def criteo_deepfm(
    path: str, least: int = 10, rows: int | None = None, dropout: float = 0.0
) -> Task:
    """Return the task of such a file with DeepFM; see `criteo_fm`."""
    network = partial(DeepFM, width=10, deep=DEEP, dropout=dropout)
    return _task("deepfm", CriteoFile(Path(path), least, rows), network, DeepFM.BLOCKS, 2048, 3e-4)


def criteo_dcn(path: str, least: int = 10, rows: int | None = None, dropout: float = 0.0) -> Task:
    """Return the task of such a file with Deep & Cross; see `criteo_fm`."""
    network = partial(DeepCross, width=16, crosses=6, deep=(1024, 1024), dropout=dropout)
    return _task("dcn", CriteoFile(Path(path), least, rows), network, DeepCross.BLOCKS, 512, 2e-4)


def criteo_autoint(
    path: str, least: int = 10, rows: int | None = None, dropout: float = 0.0
) -> Task:
    """Return the task of such a file with AutoInt; see `criteo_fm`."""
    network = partial(
        AutoInt, width=16, attention=32, heads=2, layers=3, deep=DEEP, dropout=dropout
    )
    file = CriteoFile(Path(path), least, rows)
    return _task("autoint", file, network, AutoInt.BLOCKS, 2048, 1e-4)


def criteo_afn(path: str, least: int = 10, rows: int | None = None, dropout: float = 0.0) -> Task:
    """Return the task of such a file with AFN; see `criteo_fm`."""
    network = partial(AFN, width=10, neurons=1500, deep=DEEP, dropout=dropout)
    return _task("afn", CriteoFile(Path(path), least, rows), network, AFN.BLOCKS, 2048, 4e-4)


def _task(
    name: str,
    file: CriteoFile,
    network: Callable[..., nn.Module],
    blocks: Blocks | None,
    batch_size: int,
    learning_rate: float,
) -> Task:
    data, sizes = file.made()
    return Task(
        name=f"criteo-{name}",
        summary=f"clicks of {data.name}: {sum(sizes):,} values of {len(sizes)} fields",
        load=file,
        model=partial(network, sizes),
        blocks=blocks,
        epochs=15,
        batch_size=batch_size,
        learning_rate=learning_rate,
        **scored(sizes),
    )
