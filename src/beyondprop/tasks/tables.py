"""Data of a CSV file: columns of numbers and of categories, and the targets."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import LONGEST, UserError, shown
from beyondprop.rules import Classes, Criterion, Labels, Values
from beyondprop.tasks.cells import check_numbers, gaps, is_missing, is_numeric, number
from beyondprop.tasks.files import read
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import in_three
from beyondprop.text import did_you_mean

CATEGORIES = 100
"""Maximum number of different texts in the training rows of a column of categories."""

FEW = 20
"""Maximum number of different whole numbers for which a target is treated as classes."""

DELIMITERS = (";", "\t", "|", ",")
"""Possible delimiters, for suggestions in messages."""

GROUPS = 50
"""Maximum number of different values in a protected column."""

UNKNOWN = "?"
"""The group of rows whose protected cell is missing."""

Columns = dict[str, list[str]]


@dataclass(frozen=True)
class Table:
    """A CSV file and how to read it. Called with a data folder or None, it returns the data.

    Attributes:
        path: The file, which may be compressed by gzip; its first line names the columns.
        target: The columns to predict.
        kind: Kind of the targets.
        separator: Separator of the labels in one column, if there are several.
        ignore: Columns to leave out.
        categories: Columns whose numbers are categories.
        delimiter: Delimiter of columns.
        shares: Shares of the rows for validation and test.
        seed: Seed of the split.
        protected: Columns whose values are stored as notes, in addition to the inputs.
    """

    path: Path
    target: tuple[str, ...]
    kind: Criterion | None
    separator: str | None
    ignore: tuple[str, ...]
    categories: tuple[str, ...]
    delimiter: str
    shares: tuple[float, float]
    seed: int
    protected: tuple[str, ...] = ()

    def __call__(self, folder: Path | None) -> Data:
        """Return the data; a given folder is searched for a file with this name.

        Raises:
            UserError: The file cannot be read or used.
        """
        return self.made(folder)[0]

    def made(self, folder: Path | None = None) -> tuple[Data, "Found"]:
        """Return the data, and a description of the file.

        Raises:
            UserError: The file cannot be read or used.
        """
        path = self.path if folder is None else folder / self.path.name
        columns = _columns(path, self.delimiter)
        if not self.target:
            raise UserError(
                f"target must name the column to be predicted; {path.name} has {_listed(columns)}"
                f"{_other_delimiter(list(columns), self.delimiter)}"
            )
        for name in (*self.target, *self.ignore, *self.categories, *self.protected):
            if name not in columns:
                raise UserError(
                    f"{path.name} has no column {shown(name)}; it has {_listed(columns)}"
                    f"{did_you_mean(name, columns)}"
                    f"{_other_delimiter(list(columns), self.delimiter)}"
                )
        if both := [name for name in self.protected if name in self.target]:
            raise UserError(
                f"{both[0]!r} is the target, so it can't be protected too: name a column that "
                "describes the people"
            )
        self._check_numbers(columns, path)
        columns, left_out = self._with_targets(columns, path)
        kind = self.kind or _kind(columns, self.target, self.separator)
        targets, names = _targets(columns, self.target, kind, self.separator, path)
        groups = targets if isinstance(kind, Classes) else torch.zeros(len(targets)).long()
        parts = in_three(groups, self.shares, self.seed, names or ("",), path.name)
        inputs, counts = self._inputs(columns, parts[0], path)
        protected = {name: _groups(name, columns[name], path) for name in self.protected}
        notes = {name: numbers for name, (numbers, _) in protected.items()}
        if isinstance(kind, Values):
            targets = _standardised(targets.numpy(), parts[0].numpy())
        train, validation, held = map(Split(inputs, targets, notes).some, parts)
        classes = names if isinstance(kind, Classes) else ()
        called = {name: words for name, (_, words) in protected.items()}
        data = Data(path.name, train, validation, held, classes, called)
        outputs = len(names) if names else targets.shape[1]
        distinct = tuple(
            name for name in columns if name not in self.ignore and _numbers_rows(columns[name])
        )
        return data, Found(kind, inputs.shape[1], outputs, *counts, left_out, distinct)

    def _check_numbers(self, columns: Columns, path: Path) -> None:
        """Raise if a column that is used as numbers, or would be, cannot be used so.

        Raises:
            UserError: There is such a column.
        """
        as_numbers = self.separator is None and (self.kind is None or isinstance(self.kind, Values))
        for name, cells in columns.items():
            if name in (*self.ignore, *self.categories):
                continue
            otherwise = "name the column in categories (one-hot) or in ignore (left out)"
            if name in self.target:
                if not as_numbers:
                    continue
                otherwise = "set kind to classes" if len(self.target) == 1 else ""
            check_numbers(name, cells, path.name, otherwise)

    def _with_targets(self, columns: Columns, path: Path) -> tuple[Columns, int]:
        """Return the rows that have targets, and the number of rows without."""
        told = [columns[name] for name in self.target]
        # With a separator, an empty cell is a sample without labels.
        missing = [] if self.separator is not None else [gaps(cells) for cells in told]
        known = [i for i in range(len(told[0])) if not any(gap[i] for gap in missing)]
        if not known:
            raise UserError(f"{path.name} has no row with a {' and '.join(self.target)}")
        rows = {name: [column[i] for i in known] for name, column in columns.items()}
        return rows, len(told[0]) - len(known)

    def _inputs(
        self, columns: Columns, train: Tensor, path: Path
    ) -> tuple[Tensor, tuple[int, int, int]]:
        """Return inputs ``(n, features)``, and the numbers of number, category and gap columns."""
        made: list[Tensor] = []
        kinds = {"numbers": 0, "categories": 0, "gaps": 0}
        for name, cells in columns.items():
            if name in (*self.target, *self.ignore):
                continue
            numeric = name not in self.categories and is_numeric(cells)
            features = _numbers(cells, train) if numeric else _one_hot(name, cells, train, path)
            if features is None:  # constant in the training rows
                continue
            made.append(features)
            kinds["numbers" if numeric else "categories"] += 1
            kinds["gaps"] += any(gaps(cells))
        if not made:
            raise UserError(f"{path.name} has no column that varies other than the target")
        return torch.cat(made, dim=1), (kinds["numbers"], kinds["categories"], kinds["gaps"])


@dataclass(frozen=True)
class Found:
    """The description of a table.

    Attributes:
        kind: Kind of the targets.
        inputs: Length of an input.
        outputs: Number of outputs that a model needs.
        numbers: Number of columns of numbers.
        categories: Number of columns of categories.
        gaps: Number of columns with missing values.
        left_out: Number of rows without a target.
        distinct: Columns of whole numbers or texts that differ in every row.
    """

    kind: Criterion
    inputs: int
    outputs: int
    numbers: int
    categories: int
    gaps: int
    left_out: int
    distinct: tuple[str, ...] = ()

    def summary(self, table: Table) -> str:
        """Return the task's summary."""
        what = {
            Classes: f"one of {self.outputs} classes",
            Labels: f"{self.outputs} labels",
            Values: "regression (standardised)",
        }[type(self.kind)]
        said = [
            f"{', '.join(table.target)} of {table.path.name}: {what}, from {self.numbers} "
            f"column{'s' * (self.numbers != 1)} of numbers (standardised) and {self.categories} of "
            "categories (one-hot)"
        ]
        if self.gaps:
            columns = f"{self.gaps} column{'s' * (self.gaps > 1)}"
            said.append(f"missing values of {columns} are marked")
        if self.left_out:
            said.append(f"{self.left_out} row{'s' * (self.left_out > 1)} without a target left out")
        if self.distinct:
            told = ", ".join(self.distinct)
            said.append(
                f"{told} {'has' if len(self.distinct) == 1 else 'have'} a different value in "
                "every row; to leave out columns that number the rows, name them in ignore"
            )
        return "; ".join(said)


def _columns(path: Path, delimiter: str) -> Columns:
    """Return the cells of each column.

    Raises:
        UserError: The file cannot be read, or is no table.
    """
    try:
        text = read(path).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file ({error})") from error
    rows = [[cell.strip() for cell in row] for row in rows if row]
    if len(rows) < 2:
        raise UserError(f"{path} needs a line of column names and at least one row")
    names, cells = rows[0], rows[1:]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path} has two columns of the name {shown(twice[0])}: rename one")
    for count, row in enumerate(cells, 1):
        if len(row) != len(names):
            raise UserError(
                f"{path}: row {count} has {len(row)} cell{'s' * (len(row) != 1)}, and there "
                f"{'is' if len(names) == 1 else 'are'} {len(names)} "
                f"column{'s' * (len(names) != 1)}"
                f"{_other_delimiter(names, delimiter)}"
            )
    return {name: [row[i] for row in cells] for i, name in enumerate(names)}


def _listed(names: Iterable[str]) -> str:
    """Return the names of columns for a message; the first line may be data, without any names."""
    return ", ".join(
        name if name.isprintable() and len(name) <= LONGEST else shown(name) for name in names
    )


def _other_delimiter(names: Sequence[str], delimiter: str) -> str:
    """Return a hint if the only column name seems to be several; otherwise an empty string."""
    found = [each for each in DELIMITERS if each != delimiter and each in names[0]]
    return f": set delimiter to {json.dumps(found[0])}" if found and len(names) == 1 else ""


def _numbers_rows(cells: Sequence[str]) -> bool:
    """Whether a column may merely number the rows: whole numbers or texts, all different.

    Other numbers are measurements, which may well all be different.
    """
    if len(cells) <= FEW or len(set(cells)) < len(cells):
        return False
    values = [number(cell) for cell in cells]
    return all(value is None or value.is_integer() for value in values)


def _kind(
    columns: Mapping[str, Sequence[str]], target: Sequence[str], separator: str | None
) -> Criterion:
    """Return the kind of the targets if it is not given.

    Several columns of 0 and 1, or cells with a separator, are labels; texts and few whole numbers
    are classes; other numbers are values.
    """
    if separator is not None:
        return Labels()
    told = [columns[name] for name in target]
    numeric = all(map(is_numeric, told))
    if len(told) > 1:
        both = all({number(cell) for cell in cells} <= {0.0, 1.0} for cells in told)
        return Labels() if both else Values()
    different = {number(cell) for cell in told[0]}
    whole = all(value is not None and value.is_integer() for value in different)
    return Values() if numeric and not (whole and len(different) <= FEW) else Classes()


def _targets(
    columns: Mapping[str, Sequence[str]],
    target: Sequence[str],
    kind: Criterion,
    separator: str | None,
    path: Path,
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the targets, and the names of the classes or labels.

    Raises:
        UserError: They do not match the kind, or are the same in all rows.
    """
    told = [columns[name] for name in target]
    called = ", ".join(target)
    if isinstance(kind, Classes):
        if len(target) > 1:
            raise UserError(
                f"classes come from one target column, but {called} are {len(target)}: name one"
            )
        names = _sorted(told[0])
        if len(names) < 2:
            raise UserError(
                f"{path.name}: {called} is {shown(names[0])} in all rows: choose another"
            )
        numbers = {name: i for i, name in enumerate(names)}
        return torch.tensor([numbers[cell] for cell in told[0]]), names
    if isinstance(kind, Labels):
        return _labels(told, target, separator, path)
    wrong = next((cell for cells in told for cell in cells if number(cell) is None), None)
    if wrong is not None:
        raise UserError(f"{path.name}: {called} contains {shown(wrong)}, which is not a number")
    rows = [[float(cell) for cell in row] for row in zip(*told, strict=True)]
    values = torch.tensor(rows, dtype=torch.float64)
    for name, column in zip(target, values.t(), strict=True):
        if column.min() == column.max():
            raise UserError(f"{path.name}: {name} is {column[0]:g} in all rows: choose another")
    return values, ()


def _labels(
    told: Sequence[Sequence[str]], target: Sequence[str], separator: str | None, path: Path
) -> tuple[Tensor, tuple[str, ...]]:
    if separator is not None:
        rows = [{part.strip() for part in cell.split(separator)} - {""} for cell in told[0]]
        names = tuple(sorted(set().union(*rows)))
        marks = [[name in row for name in names] for row in rows]
    else:
        wrong = {cell for cells in told for cell in cells if number(cell) not in (0.0, 1.0)}
        if wrong:
            raise UserError(
                f"{path.name}: labels are 0 or 1, and {', '.join(target)} hold {shown(min(wrong))}"
            )
        names = tuple(target)
        marks = [[number(cell) == 1 for cell in row] for row in zip(*told, strict=True)]
    found = torch.tensor(marks, dtype=torch.bool)
    for name, column in zip(names, found.t(), strict=True):
        if column.all() or not column.any():
            raise UserError(f"{path.name}: the label {name} is the same in all rows: leave it out")
    if not names:
        raise UserError(f"{path.name}: {target[0]} holds no label")
    return found, names


def _groups(name: str, cells: Sequence[str], path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Return the group number of each row, ``(n,)``, and the names of the groups.

    Raises:
        UserError: There are too many groups, or only one.
    """
    told = [UNKNOWN if gap else cell for cell, gap in zip(cells, gaps(cells), strict=True)]
    groups = _sorted(told)
    if len(groups) > GROUPS:
        raise UserError(
            f"{path.name}: the protected column {shown(name)} holds {len(groups)} different "
            f"values, too many for groups: write ranges or fewer kinds into it, {GROUPS} at most"
        )
    if len(groups) < 2:
        raise UserError(
            f"{path.name}: the protected column {shown(name)} is {shown(groups[0])} in all rows, "
            "so there are no groups to compare: leave it out of protected"
        )
    numbers = {group: i for i, group in enumerate(groups)}
    return torch.tensor([numbers[cell] for cell in told]), groups


def _sorted(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the different cells in order: numbers by value, texts alphabetically."""
    different = set(cells)
    numbers = {cell: number(cell) for cell in different}
    if None in numbers.values():
        return tuple(sorted(different))
    return tuple(sorted(different, key=lambda cell: (numbers[cell], cell)))


def _standardised(values: Any, train: Any) -> Tensor:
    """Return values standardised by the training rows' mean and deviation; ``(n, k)`` float32."""
    # The square of 1e200 overflows. Scaling by a power of two changes no digit.
    _, exponent = np.frexp(np.nanmax(np.abs(values), axis=0))
    values = values / np.ldexp(1.0, exponent - 1)
    known = values[train]
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return torch.from_numpy((values - mean) / np.where(deviation > 0, deviation, 1)).float()


def _numbers(cells: Sequence[str], train: Tensor) -> Tensor | None:
    """Return a column ``(n, 1)``, with a second column that marks missing values if there are any.

    A missing number becomes the training rows' mean.
    """
    values = np.array([math.nan if is_missing(cell) else float(cell) for cell in cells])
    known, missing = values[train.numpy()], np.isnan(values)
    known = known[~np.isnan(known)]
    if not len(known) or known.min() == known.max():
        return None
    standard = _standardised(values[:, None], train.numpy()).nan_to_num(0.0)
    if not missing.any():
        return standard
    return torch.cat([standard, torch.from_numpy(missing).float().unsqueeze(1)], dim=1)


def _one_hot(name: str, cells: Sequence[str], train: Tensor, path: Path) -> Tensor | None:
    """Return a column for each category of the training rows; a missing value is a category too.

    Raises:
        UserError: There are too many categories.
    """
    told = ["" if gap else cell for cell, gap in zip(cells, gaps(cells), strict=True)]
    categories = sorted({told[row] for row in train.tolist()})
    if len(categories) < 2:
        return None
    if len(categories) > CATEGORIES:
        raise UserError(
            f"{path.name}: column {shown(name)} holds {len(categories)} different texts in the "
            f"training rows, but a column of categories may have at most {CATEGORIES}: name it in "
            "ignore to leave it out"
        )
    places = {category: i for i, category in enumerate(categories)}
    made = torch.zeros(len(cells), len(categories))
    for row, cell in enumerate(told):
        if cell in places:  # categories that are not in the training rows have no column
            made[row, places[cell]] = 1
    return made
