"""Reviews of clothing, made up; the true ones where they lie at hand."""

import csv
import gzip
import io
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.models.encoders import Words, vectors
from beyondprop.tasks.multimodal import CLOTHING_REVIEWS
from beyondprop.tasks.multimodal.clothing import (
    COLUMNS,
    LENGTH,
    Reviews,
    bag_and_table,
    numbered,
)
from beyondprop.tasks.multimodal.common import WIDTH, Encoder, Network

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
TEXTS = ["Clothing ID", "Age", "Title", "Review Text"]
HEAD = [*TEXTS, "Rating", "Recommended IND", "Positive Feedback Count"]
HEAD += ["Division Name", "Department Name", "Class Name"]
ENCODERS = {"text": Encoder(Words, (8,)), "table": Encoder(vectors, (COLUMNS,))}
LETTERS = str.maketrans("0123456789", "abcdefghij")
SMALL = replace(
    CLOTHING_REVIEWS,
    load=Reviews(vocabulary=8),
    model=Network(ENCODERS, WIDTH, 2),
    features=partial(bag_and_table, 8),
)


def rows(count: int = 80) -> list[list[object]]:
    """Return reviews: a fourth isn't recommended, and says bad in place of good."""
    made: list[list[object]] = []
    for number in range(count):
        good = number % 4 > 0
        own = str(number).translate(LETTERS)  # a word that no other review has
        text = f"It's {'Good' if good else 'BAD'}, {own}" + " the" * (number % 3)
        where = ["General", "Tops", "Knits"] if number % 2 else ["", "", "New class"]
        made.append([number, 20 + number, "the", text, 5 if good else 1, int(good), number, *where])
    return made


def put(folder: Path, content: list[list[object]], head: list[str] = HEAD) -> Path:
    made = io.StringIO()
    csv.writer(made).writerows([head, *content])
    (folder / "clothing-reviews.csv.gz").write_bytes(gzip.compress(made.getvalue().encode()))
    return folder


def test_words_are_numbered_by_the_training_part(tmp_path: Path) -> None:
    data = SMALL.load(put(tmp_path, rows()))
    assert [len(part) for part in data.parts.values()] == [56, 8, 16]
    inputs, targets = data.train.batch(slice(None))
    text, table = inputs["text"], inputs["table"]
    assert text.shape == (56, LENGTH)
    assert table.shape == (56, COLUMNS)
    assert targets.float().mean().item() == pytest.approx(0.75)
    # 0 pads, 1 is rare; then the, it's, good, bad and two of the words that each text has alone.
    assert text.max() <= 7
    assert ((text == 4).any(1) == (targets == 1)).all()
    assert ((text == 5).any(1) == (targets == 0)).all()
    assert (text[:, 0] == 2).all() or (text[:, 0] == 3).all()
    assert (text == 1).any(1).float().mean() > 0.9


def test_the_table_has_neither_rating_nor_piece(tmp_path: Path) -> None:
    content = rows()
    data = SMALL.load(put(tmp_path, content))
    for row in content:
        row[0], row[4] = 7, 3
    (tmp_path / "other").mkdir()
    other = SMALL.load(put(tmp_path / "other", content))
    for name in ("text", "table"):
        one, same = (each.train.batch(slice(None))[0][name] for each in (data, other))
        assert torch.equal(one, same)
    table = data.train.batch(slice(None))[0]["table"]
    torch.testing.assert_close(table[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(table[:, :2].std(0, correction=0), torch.ones(2))
    assert set(table[:, 2:].sum(1).tolist()) == {2.0, 3.0}  # a class that is not known has no mark


def test_the_commonest_words_come_first() -> None:
    assert numbered([["b", "a", "c"], ["c"]], 4) == {"c": 2, "a": 3}


def test_the_linear_control_sees_words_and_table() -> None:
    inputs = {"text": torch.tensor([[2, 1, 2, 0]]), "table": torch.tensor([[0.5, -1.0]])}
    assert bag_and_table(4, inputs).tolist() == [[0, 1, 1, 0, 0.5, -1]]


def test_a_run_reads_the_text(tmp_path: Path) -> None:
    folder = put(tmp_path, rows())
    task = replace(SMALL, epochs=30, batch_size=8)
    spec = RunSpec(rule="backprop", data=folder, measures=())
    record = train(spec, tmp_path / "run", task=task)
    assert record["test"]["score"] == 1.0


def test_absent_and_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clothing reviews is not on this machine; put its files"):
        CLOTHING_REVIEWS.load(None)
    short = [row[:-1] for row in rows()]
    with pytest.raises(UserError, match="has no column 'Class Name'"):
        SMALL.load(put(tmp_path, short, HEAD[:-1]))
    with pytest.raises(UserError, match="has no column 'Title'"):
        SMALL.load(put(tmp_path, []))
    wrong = rows()
    wrong[3][5] = "yes"
    with pytest.raises(UserError, match="neither 0 nor 1"):
        SMALL.load(put(tmp_path, wrong))


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA names no folder of data")
def test_the_true_reviews() -> None:
    data = CLOTHING_REVIEWS.load(Path(str(REAL)))
    assert [len(part) for part in data.parts.values()] == [16441, 2348, 4697]
    inputs, targets = data.test.batch(slice(None))
    assert targets.float().mean().item() == pytest.approx(0.8224, abs=1e-3)
    assert (inputs["text"] == 1).sum() < 0.04 * (inputs["text"] > 0).sum()
    assert inputs["table"][:, 2:].sum(1).unique().tolist() == [3.0]  # all categories are known
