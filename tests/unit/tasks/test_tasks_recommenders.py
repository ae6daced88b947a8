"""MovieLens and files of Criteo's format, made up; the true MovieLens where it lies at hand."""

import gzip
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.models.recommender import AFN, AutoInt, DeepCross, DeepFM, FactorisationMachine
from beyondprop.tasks import Task, find
from beyondprop.tasks.recommenders import (
    criteo_afn,
    criteo_autoint,
    criteo_dcn,
    criteo_deepfm,
    criteo_fm,
    movielens,
)
from beyondprop.tasks.recommenders.clicks import one_hot
from beyondprop.tasks.recommenders.criteo import bucket

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
TASKS = [find(f"movielens-{name}") for name in ("fm", "deepfm", "dcn", "autoint", "afn")]
UNCHECKED = replace(movielens.MOVIELENS, files=dict.fromkeys(movielens.MOVIELENS.files))

USERS = ["1\t17\tM\tartist\t90210", "2\t18\tF\tother\tV5A2B", "3\t60\tF\tartist\t10001"]
MOVIES = ["7\tHeat\t1995\tCrime Action", "8\tBabe\t1995\tDrama", "9\tAlien\t1979\tAction Crime"]
HEADS = {
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three users, three movies and 60 ratings: of user 1 they are 5, else 3."""
    ratings = [f"{1 + i % 3}\t{7 + i // 3 % 3}\t{5 if i % 3 == 0 else 3}\t{i}" for i in range(60)]
    where = tmp_path / "ml-100k"
    where.mkdir()
    for name, lines in (("item", MOVIES), ("user", USERS), ("inter", ratings)):
        text = "\n".join([HEADS[name], *lines, ""])
        if name == "inter":
            (where / "ml-100k.inter.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (where / f"ml-100k.{name}").write_text(text)
    return tmp_path


def tiny(task: Task, network: type[nn.Module], *sizes: object) -> Task:
    return replace(
        task,
        load=partial(movielens.load, UNCHECKED),
        model=partial(network, movielens.SIZES, *sizes),
        epochs=1,
        batch_size=16,
    )


TINY = [
    tiny(TASKS[0], FactorisationMachine, 4),
    tiny(TASKS[1], DeepFM, 4, (8,)),
    tiny(TASKS[2], DeepCross, 4, 2, (8,)),
    tiny(TASKS[3], AutoInt, 4, 4, 2, 2, (8,)),
    tiny(TASKS[4], AFN, 4, 5, (8,)),
]


def test_a_rating_has_the_fields_of_its_user_and_movie(folder: Path) -> None:
    data = movielens.load(UNCHECKED, folder)
    assert [len(part) for part in data.parts.values()] == [48, 6, 6]
    rows = torch.cat([part.batch(slice(None))[0] for part in data.parts.values()])
    clicks = torch.cat([part.batch(slice(None))[1] for part in data.parts.values()])
    # user, age group, gender, occupation, postcode, movie, year, genres
    users = [[0, 0, 1, 0, 1], [1, 1, 0, 1, 2], [2, 2, 0, 0, 0]]
    movies = [[0, 1, 0], [1, 1, 1], [2, 0, 0]]
    expected = {tuple(user + movie) for user in users for movie in movies}
    assert set(map(tuple, rows.tolist())) == expected
    assert torch.equal(clicks, rows[:, 0] == 0)
    assert clicks.dtype == torch.bool
    assert rows.dtype == torch.int64


def test_the_split_is_always_the_same(folder: Path) -> None:
    one, other = movielens.load(UNCHECKED, folder), movielens.load(UNCHECKED, folder)
    for part, same in zip(one.parts.values(), other.parts.values(), strict=True):
        assert torch.equal(part.batch(slice(None))[0], same.batch(slice(None))[0])


def test_files_of_another_content_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="is damaged or belongs to another data set"):
        movielens.load_movielens(folder)


def test_absent_files_are_asked_for() -> None:
    with pytest.raises(UserError) as raised:
        movielens.load_movielens()
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("MovieLens-100k is not on this machine; put its files (ml-100k.inter")
    assert "recbole" in message
    assert message.endswith("BEYONDPROP_DATA names")


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA names no folder of data")
def test_the_true_movielens() -> None:
    data = movielens.load_movielens(Path(str(REAL)))
    assert [len(part) for part in data.parts.values()] == [80_000, 10_000, 10_000]
    rows, clicks = data.train.batch(slice(None))
    assert (rows.amax(0) + 1).tolist() == pytest.approx(list(movielens.SIZES), abs=20)
    assert (rows.amax(0) < torch.tensor(movielens.SIZES)).all()
    assert clicks.float().mean().item() == pytest.approx(0.55375, abs=0.002)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_networks_take_the_fields(task: Task) -> None:
    torch.manual_seed(0)
    last = torch.tensor(movielens.SIZES) - 1
    logits = task.model()(torch.stack([last, torch.zeros_like(last)]))
    assert logits.shape == (2,)
    assert task.loss(logits, torch.tensor([True, False])).isfinite()


@pytest.mark.parametrize("task", TINY, ids=lambda task: task.name)
def test_a_run_learns_that_one_user_clicks(task: Task, folder: Path, tmp_path: Path) -> None:
    longer = replace(task, epochs=30, learning_rate=0.03)
    spec = RunSpec(rule="backprop", data=folder, measures=())
    record = train(spec, tmp_path / "run", task=longer)
    assert record["test"]["score"] == 1.0


@pytest.mark.parametrize("task", TINY[2:], ids=lambda task: task.name)
def test_frozen_networks_have_their_last_layer_solved(
    task: Task, folder: Path, tmp_path: Path
) -> None:
    spec = RunSpec(rule="frozen", data=folder, measures=())
    record = train(spec, tmp_path / "run", task=task)
    assert record["head"]["converged"] is True


def test_one_hot() -> None:
    found = one_hot((2, 3), torch.tensor([[0, 2], [1, 0]]))
    assert found.tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]


CRITEO = {
    "fm": criteo_fm,
    "deepfm": criteo_deepfm,
    "dcn": criteo_dcn,
    "autoint": criteo_autoint,
    "afn": criteo_afn,
}


def criteo_line(number: int) -> str:
    numbers = ["" if number % 2 else "5", str(number), *["1"] * 11]
    categories = [f"{number % 3:08x}", *["68fd1e64"] * 24, ""]
    return "\t".join([str(number % 2), *numbers, *categories])


@pytest.fixture
def criteo(tmp_path: Path) -> Path:
    path = tmp_path / "train.txt"
    path.write_text("\n".join(map(criteo_line, range(100))) + "\n")
    return path


def test_rare_values_are_one_and_the_others_are_counted_from_1(criteo: Path) -> None:
    task = criteo_fm(str(criteo), least=15)
    data = task.load(None)
    assert [len(part) for part in data.parts.values()] == [80, 10, 10]
    rows, clicks = data.train.batch(slice(None))
    assert rows.shape == (80, 39)
    assert torch.equal(rows[:, 0] == rows[clicks, 0][0], clicks)  # the first number tells all
    assert set(rows[:, 13].tolist()) == {1, 2, 3}
    assert set(rows[:, 2].tolist()) == {1}
    assert 0 in rows[:, 1]  # most of these numbers are rare
    assert rows[:, 38].unique().tolist() == [1]  # empty cells are a value
    assert task.model()(rows).shape == (80,)
    assert len(task.features(rows[:1])[0]) == int(task.summary.split()[3])


def test_values_that_training_has_not_are_rare(criteo: Path) -> None:
    data = criteo_fm(str(criteo), least=1).load(None)
    rows = data.train.batch(slice(None))[0]
    held_out = data.test.batch(slice(None))[0]
    assert (held_out <= rows.amax(0)).all()
    assert rows.amin() == 1


@pytest.mark.parametrize(("cell", "expected"), [("", ""), ("-1", -3), ("2", 0), ("0", -2)])
def test_small_numbers_are_categories(cell: str, expected: object) -> None:
    assert bucket(cell) == expected


@pytest.mark.parametrize("number", [3, 10, 1000, 65535])
def test_large_numbers_are_told_apart_by_their_logarithms(number: int) -> None:
    assert bucket(str(number)) == math.floor(math.log(number) ** 2)


@pytest.mark.parametrize("name", CRITEO)
def test_tasks_of_a_file_can_be_named_in_a_spec(name: str, criteo: Path) -> None:
    spec = {"task": f"beyondprop.tasks.recommenders:criteo_{name}", "path": str(criteo), "rows": 60}
    task = find(spec)
    assert task.name == f"criteo-{name}"
    data = task.load(None)
    assert len(data.train) == 48
    logits: Tensor = task.model()(data.train.batch(slice(0, 4))[0])
    assert logits.shape == (4,)


def test_a_compressed_file_and_no_other_folder(criteo: Path, tmp_path: Path) -> None:
    task = criteo_dcn(str(criteo))
    other = tmp_path / "other.txt.gz"
    other.write_bytes(gzip.compress(criteo.read_bytes()))
    here, there = task.load(None), criteo_dcn(str(other)).load(None)
    assert torch.equal(here.test.batch(slice(None))[0], there.test.batch(slice(None))[0])
    with pytest.raises(UserError, match="leave out data="):
        task.load(tmp_path)


def test_lines_of_one_label_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    path.write_text("\n".join("0" + criteo_line(i)[1:] for i in range(40)))
    with pytest.raises(UserError, match="holds no click"):
        criteo_dcn(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no line"),
        (criteo_line(0) + "\n2" + criteo_line(0)[1:], "line 2 is not a label 0 or 1, 13 whole"),
        ("1\t2\t3", "line 1 is not a label 0 or 1, 13 whole"),
        (criteo_line(0).replace("\t5\t", "\tx\t"), "line 1 has no whole number"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "clicks.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        criteo_fm(str(path))
    with pytest.raises(UserError, match="cannot be read"):
        criteo_fm(str(tmp_path / "absent.txt"))
