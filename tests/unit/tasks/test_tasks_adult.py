"""The adult census table, made up; the true one where it lies at hand. Protected columns."""

import csv
import gzip
import io
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare
from beyondprop.tasks import Data, Samples, Split, Task, find
from beyondprop.tasks.adult import ADULT, BLIND_INPUTS, INPUTS, Census, adult
from beyondprop.tasks.kinds import mlp
from beyondprop.tasks.splitting import Drawn

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
HEAD = ["age", "workclass", "fnlwgt", "race", "gender", "capital-gain", "income"]
SOURCE = replace(ADULT, files={"adult.csv": None})


def put(folder: Path) -> Path:
    """Write people of whom the old earn more; the weight of a row is its number."""
    rows: list[list[object]] = []
    for number in range(200):
        work = "?" if number % 10 == 0 else ("Private", "State-gov")[number % 2]
        race = ("White", "Black", "Other")[number % 3]
        who = ("Male", "Female")[number // 2 % 2]
        rows.append([20 + number % 50, work, number, race, who, 0 if number % 7 else 5000])
        rows[-1].append(">50K" if number % 50 > 30 else "<=50K")
    made = io.StringIO()
    csv.writer(made).writerows([HEAD, *rows])
    (folder / "adult.csv.gz").write_bytes(gzip.compress(made.getvalue().encode()))
    return folder


def small(blind: bool) -> Task:
    model = partial(mlp, 5 if blind else 10, 2)
    return replace(adult(blind), load=Census(blind, SOURCE), model=model, epochs=20, batch_size=16)


def test_gender_and_race_are_notes_and_inputs_unless_the_model_is_blind(tmp_path: Path) -> None:
    folder = put(tmp_path)
    seen, unseen = (small(blind).load(folder) for blind in (False, True))
    # Two of numbers and three kinds of work, of which "?" is one; two genders and three races.
    assert [len(part) for part in seen.parts.values()] == [140, 20, 40]
    assert seen.train.batch(slice(None))[0].shape == (140, 10)
    assert unseen.train.batch(slice(None))[0].shape == (140, 5)
    assert seen.classes == ("<=50K", ">50K")
    for data in (seen, unseen):
        assert data.protected == {
            "gender": ("Female", "Male"),
            "race": ("Black", "Other", "White"),
        }
        for part in data.parts.values():
            assert isinstance(part, Split)
            assert set(part.notes) == {"gender", "race"}
    # The notes say of each row what its columns of gender say.
    part = seen.test
    assert isinstance(part, Split)
    race, gender = part.inputs[:, 4:7], part.inputs[:, 7:9]  # after age and work
    assert torch.equal(race.argmax(1), part.notes["race"])
    assert torch.equal(gender.argmax(1), part.notes["gender"])


def test_a_run_and_its_linear_control_learn_the_table(tmp_path: Path) -> None:
    folder = put(tmp_path)
    for blind in (False, True):
        spec = CompareSpec(
            rules=("backprop", "frozen"),
            seeds=(0,),
            learning_rates=(3e-3,),
            data=folder,
            measure_cost=False,
        )
        found = compare(spec, tmp_path / f"runs-{blind}", task=small(blind))
        scores = {row["rule"]: row["score_mean"] for row in found["rows"]}
        assert min(scores["backprop"], scores["linear"]) > 0.7


def test_the_task_is_found_by_name_with_or_without_its_eyes() -> None:
    assert find("adult-mlp").name == "adult-mlp"
    blind = find({"task": "adult-mlp", "blind": True})
    assert blind.name == "adult-mlp-blind"
    assert "does not see" in blind.summary
    assert blind.model()(torch.randn(3, BLIND_INPUTS)).shape == (3, 2)
    assert find("adult-mlp").model()(torch.randn(3, INPUTS)).shape == (3, 2)


def test_absent_and_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the adult census table is not on this machine"):
        find("adult-mlp").load(None)
    with pytest.raises(UserError, match="not the published one"):
        find("adult-mlp").load(put(tmp_path))


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA names no folder of data")
@pytest.mark.parametrize("blind", [False, True])
def test_the_true_table(blind: bool) -> None:
    data = adult(blind).load(Path(str(REAL)))
    assert [len(part) for part in data.parts.values()] == [34189, 4885, 9768]
    inputs, targets = data.test.batch(slice(None))
    assert inputs.shape[1] == (BLIND_INPUTS if blind else INPUTS)
    assert targets.float().mean().item() == pytest.approx(0.2393, abs=1e-3)
    assert isinstance(data.test, Split)
    assert data.test.notes["gender"].bincount().tolist() == [3232, 6536]


ROWS = [f"{i},{'fm'[i % 2]},{'xyz'[i % 3]},{'no' if i % 4 else 'yes'}" for i in range(60)]


def written(folder: Path, rows: list[str], head: str = "age,sex,town,paid") -> Path:
    path = folder / "people.csv"
    path.write_text("\n".join([head, *rows]))
    return path


def test_protected_columns_of_a_table_are_kept_beside_its_inputs(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    seen = Task.from_csv(path, "paid", protected=("sex",)).load(None)
    unseen = Task.from_csv(path, "paid", protected=("sex",), ignore=("sex",)).load(None)
    plain = Task.from_csv(path, "paid").load(None)
    assert seen.protected == unseen.protected == {"sex": ("f", "m")}
    assert plain.protected == {}
    one, same, blind = (each.test for each in (seen, plain, unseen))
    assert isinstance(one, Split)
    assert isinstance(same, Split)
    assert isinstance(blind, Split)
    assert same.notes == {}
    assert torch.equal(one.inputs, same.inputs)
    assert torch.equal(one.inputs[:, 2].long(), one.notes["sex"])  # age, f, m
    assert torch.equal(blind.notes["sex"], one.notes["sex"])
    assert blind.inputs.shape[1] == one.inputs.shape[1] - 2


def test_a_missing_value_is_a_group_and_numbers_are_in_their_order(tmp_path: Path) -> None:
    rows = [f"{i % 3 + 9},{'' if i % 5 == 0 else 'f'},x{i},{i % 2}" for i in range(60)]
    task = Task.from_csv(
        written(tmp_path, rows), "paid", protected=("age", "sex"), ignore=("town",)
    )
    assert task.load(None).protected == {"age": ("9", "10", "11"), "sex": ("?", "f")}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"protected": "sex"}, r"protected must be a list of names: ['sex']"),
        ({"protected": ("gender",)}, "people.csv has no column 'gender'"),
        ({"protected": ("towm",)}, "did you mean 'town'?"),
        ({"protected": ("paid",)}, "'paid' is the target"),
        ({"protected": ("age",)}, "the protected column 'age' holds 60 different values"),
        ({"protected": ("land",)}, "the protected column 'land' is 'de' in all rows"),
    ],
)
def test_columns_that_make_no_groups_are_refused(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, [f"{row},de" for row in ROWS], "age,sex,town,paid,land")
    with pytest.raises(UserError, match=re.escape(message)):
        Task.from_csv(path, "paid", **given)


def test_notes_survive_what_is_done_with_data(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    task = Task.from_csv(path, "paid", protected=("sex", "town"), split=Drawn(20))
    data = task.load(None)
    assert task.split is not None

    def halved(part: Samples) -> Samples:
        return part.some(torch.arange(0, len(part), 2))

    for made in (task.split(data, 3), data.mapped(halved), data.mapped(lambda x: x.to("cpu"))):
        assert made.protected == data.protected
        for part in made.parts.values():
            assert isinstance(part, Split)
            inputs, _ = part.batch(slice(None))
            assert torch.equal(inputs[:, 1:3].argmax(1), part.notes["sex"])
            assert torch.equal(inputs[:, 3:6].argmax(1), part.notes["town"])
    moved = data.test.to("meta")
    assert isinstance(moved, Split)
    assert moved.notes["sex"].device.type == "meta"


def test_notes_that_are_no_groups_are_refused() -> None:
    x, y = torch.randn(6, 2), torch.arange(6) % 2
    for values, message in (
        (torch.arange(6), "run from 0 to 5, but there are 2 groups"),
        (torch.zeros(6), "numbers of groups"),
        (torch.zeros(6, 2).long(), "numbers of groups"),
    ):
        part = Split(x, y, {"sex": values})
        with pytest.raises(UserError, match=message):
            Data("people", part, part, part, ("no", "yes"), {"sex": ("f", "m")})
