"""Tasks of CSV files."""

import csv
import gzip
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import beyondprop as bp
from beyondprop import tasks
from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Data, Split, Task, macro_f1, r_squared
from beyondprop.tasks.splitting import in_three

ROWS = [
    {"age": str(20 + i), "town": "abc"[i % 3], "pay": str(i * 1.5), "job": "xy"[i % 2]}
    for i in range(60)
]


def written(folder: Path, rows: list[dict[str, str]], name: str = "people.csv") -> Path:
    path = folder / name
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def whole(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [part.batch(slice(None)) for part in data.parts.values()]
    inputs, targets = (torch.cat(each) for each in zip(*parts, strict=True))
    return inputs, targets


def test_numbers_are_standardised_by_training_rows_and_texts_are_one_hot(tmp_path: Path) -> None:
    data = Task.from_csv(written(tmp_path, ROWS), "job").load(None)
    x, _ = data.train.batch(slice(None))
    assert x.shape == (36, 5)  # age, three towns, pay
    for column in (0, 4):
        assert x[:, column].mean() == pytest.approx(0, abs=1e-6)
        assert x[:, column].std(correction=0) == pytest.approx(1, abs=1e-5)
    assert torch.equal(x[:, 1:4].sum(1), torch.ones(36))
    assert data.classes == ("x", "y")
    assert [len(part) for part in data.parts.values()] == [36, 12, 12]


@pytest.mark.parametrize(
    ("target", "settings_", "kind", "loss_of"),
    [
        ("job", {}, "one of 2 classes", "accuracy"),
        ("town", {}, "one of 3 classes", "accuracy"),
        ("pay", {}, "regression", "R²"),
        (("age", "pay"), {}, "regression", "R²"),
        ("age", {"kind": bp.Classes(), "validation": 0.1}, "60 samples|need one each", None),
    ],
)
def test_what_targets_are_is_told(
    tmp_path: Path, target: Any, settings_: dict[str, Any], kind: str, loss_of: str | None
) -> None:
    path = written(tmp_path, ROWS)
    if loss_of is None:
        with pytest.raises(UserError, match=kind):
            Task.from_csv(path, target, **settings_)
        return
    task = Task.from_csv(path, target, **settings_)
    assert kind in task.summary
    assert task.metric_name == loss_of


def test_few_whole_numbers_are_classes_in_their_order_unless_said_otherwise(
    tmp_path: Path,
) -> None:
    rows = [{"x": str(i), "stars": str(9 + i % 3)} for i in range(60)]
    path = written(tmp_path, rows)
    assert Task.from_csv(path, "stars").load(None).classes == ("9", "10", "11")
    values = Task.from_csv(path, "stars", kind=bp.Values())
    _, y = values.load(None).train.batch(slice(None))
    assert y.shape == (36, 1)
    assert y.mean() == pytest.approx(0, abs=1e-6)


def test_a_table_is_a_task_in_a_spec_too(tmp_path: Path) -> None:
    path = str(written(tmp_path, ROWS))
    spec = {"task": "beyondprop.tasks:from_csv", "path": path, "target": "age", "kind": "values"}
    assert tasks.find(spec).metric_name == "R²"
    with pytest.raises(
        UserError, match=r"unknown criterion 'value'; did you mean 'values'\? There"
    ):
        tasks.find(spec | {"kind": "value"})


def test_several_columns_of_0_and_1_and_cells_with_a_separator_are_labels(tmp_path: Path) -> None:
    rows = [{"x": str(i), "a": str(i % 2), "b": str(i // 2 % 2)} for i in range(60)]
    for row in rows:
        row["tags"] = ";".join(name for name in "ab" if row[name] == "1")
    path = written(tmp_path, rows)
    by_columns = Task.from_csv(path, ("a", "b"), ignore=("tags",)).load(None)
    by_cells = Task.from_csv(path, "tags", separator=";", ignore=("a", "b")).load(None)
    for one, other in zip(whole(by_columns), whole(by_cells), strict=True):
        assert torch.equal(one, other)
    assert whole(by_columns)[1].dtype == torch.bool
    assert by_columns.classes == ()


def test_missing_values_are_marked_and_told(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    for i, row in enumerate(rows):
        if i % 5 == 0:
            row["pay"] = "?"
        if i % 4 == 0:
            row["town"] = ""
    rows[7]["job"] = "?"
    task = Task.from_csv(written(tmp_path, rows), "job")
    x, _ = whole(task.load(None))
    assert x.shape == (59, 7)  # age; three towns and none; pay, and its mark
    assert x[:, 6].sum() == 12
    assert (x[:, 5][x[:, 6] == 1] == 0).all()  # the mean
    assert "missing values of 2 columns are marked; 1 row without a target left out" in (
        task.summary
    )


def test_none_and_na_are_missing_numbers_but_texts_among_texts(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    for row in rows[::2]:
        row["town"] = "none"
    for row in rows[::3]:
        row["pay"] = "NA"
    path = written(tmp_path, rows)
    task = Task.from_csv(path, "town")
    assert task.load(None).classes == ("a", "b", "c", "none")
    assert "missing values of 1 column are marked" in task.summary
    assert sum(len(part) for part in Task.from_csv(path, "pay").load(None).parts.values()) == 40


def test_a_category_that_training_never_saw_is_none_of_them(tmp_path: Path) -> None:
    rows = [{"x": str(i), "town": "ab"[i % 2], "job": "xy"[i % 2]} for i in range(30)]
    train_rows = in_three(torch.tensor([i % 2 for i in range(30)]), (0.2, 0.2), 0, "xy")[0]
    other = next(i for i in range(30) if i not in train_rows.tolist())
    rows[other]["town"] = "far"
    x, _ = whole(Task.from_csv(written(tmp_path, rows), "job").load(None))
    assert (x[:, 1:].sum(1) == 0).sum() == 1


def test_gzip_a_byte_order_mark_and_quoted_cells_are_read(tmp_path: Path) -> None:
    plain = written(tmp_path, ROWS)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"a,", b'"a",')))
    one, other = (whole(Task.from_csv(path, "job").load(None)) for path in (plain, packed))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert Task.from_csv(packed, "job").name == "people"


def test_a_task_of_a_table_travels_and_loads_from_another_folder(tmp_path: Path) -> None:
    task = Task.from_csv(written(tmp_path, ROWS), "pay")
    (tmp_path / "moved").mkdir()
    (tmp_path / "people.csv").rename(tmp_path / "moved" / "people.csv")
    sent = pickle.loads(pickle.dumps(task))
    assert len(sent.load(tmp_path / "moved").train) == 36
    assert sent.model()(torch.zeros(2, 6)).shape == (2, 1)
    with pytest.raises(UserError, match="cannot be read"):
        sent.load(None)


def changed(**cells: str) -> list[dict[str, str]]:
    return [row | cells for row in ROWS]


@pytest.mark.parametrize(
    ("content", "target", "settings_", "message"),
    [
        (None, "salary", {}, "has no column 'salary'; it has age, town, pay, job"),
        (None, "jobs", {}, "did you mean 'job'"),
        (None, "job", {"ignore": ("nme",)}, "has no column 'nme'"),
        (None, "job", {"ignore": "age"}, r"ignore must be a list of names: \['age'\]"),
        (None, "job", {"ignore": ("age", "town", "pay")}, "no column that varies"),
        (None, "job", {"kind": bp.Values()}, "job contains 'x', which is not a number"),
        (None, "town", {"kind": bp.Labels()}, "labels are 0 or 1, and town hold 'a'"),
        (None, ("job", "town"), {"kind": bp.Classes()}, "classes come from one target column"),
        (None, "job", {"epoch": 3}, "a task has no epoch; it has augment"),
        (None, "job", {"test": 0.9}, "together below 1"),
        (changed(job="x"), "job", {}, "job is 'x' in all rows"),
        (changed(pay="2.5"), "pay", {"kind": bp.Values()}, "pay is 2.5 in all rows"),
        (changed(job=""), "job", {}, "has no row with a job"),
        ([*changed(job="x"), ROWS[1]], "job", {}, "there is 1 sample of class 'y'"),
        ("", "job", {}, "needs a line of column names and at least one row"),
        ("job\n", "job", {}, "needs a line of column names and at least one row"),
        ("job,age\nx\n", "job", {}, "row 1 has 1 cell, and there are 2 columns"),
        ("job,job\nx,y\n", "job", {}, "two columns of the name 'job'"),
        (b"job,age\n\xff\xfe,1\n", "job", {}, "is not UTF-8 text"),
        (b'job,age\n"x,1\n', "job", {}, "is not a CSV file"),
        (b"\x1f\x8bnot gzip", "job", {}, "is damaged"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, content: Any, target: Any, settings_: dict[str, Any], message: str
) -> None:
    path = tmp_path / "people.csv"
    if content is None or isinstance(content, list):
        written(tmp_path, content or ROWS)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=message) as error:
        Task.from_csv(path, target, **settings_)
    assert "\n" not in str(error.value)


def test_a_column_of_texts_is_to_be_ignored(tmp_path: Path) -> None:
    rows = [row | {"note": f"note {i}"} for i, row in enumerate(ROWS * 4)]
    path = written(tmp_path, rows)
    with pytest.raises(UserError, match="name it in ignore to leave it out") as error:
        Task.from_csv(path, "job")
    count = len(Task.from_csv(path, "job", ignore=("note",)).load(None).train)
    assert f"column 'note' holds {count} different texts in the training rows" in str(error.value)
    assert Task.from_csv(path, "job", ignore=("note",)).name == "people"


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    shares=st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45)),
    seed=st.integers(0, 99),
)
def test_three_parts_are_all_samples_once_and_hold_each_class_alike(
    labels: list[int], shares: tuple[float, float], seed: int
) -> None:
    classes = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, *labels])
    try:
        parts = in_three(classes, shares, seed, "abc")
    except UserError:
        assert any(
            sum(max(1, round(share * n)) for share in shares) >= n
            for n in classes.bincount().tolist()
        )
        return
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(classes)))
    for share, part in zip(shares, parts[1:], strict=True):
        for label, n in enumerate(classes.bincount().tolist()):
            assert int((classes[part] == label).sum()) == max(1, round(share * n))
    again = in_three(classes, shares, seed, "abc")
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("target", ["job", "pay", ("a", "b")], ids=["classes", "values", "labels"])
@pytest.mark.parametrize(
    "rule", ["backprop", "fa", "dfa", "drtp", "dkp", "predsim", "infopro", "lfg", "frozen"]
)
def test_rules_learn_from_tables(tmp_path: Path, rule: str, target: Any) -> None:
    rows = [row | {"a": str(i % 2), "b": str(i // 30)} for i, row in enumerate(ROWS)]
    task = Task.from_csv(written(tmp_path, rows), target, epochs=2, batch_size=16)
    record = train(RunSpec(rule=rule), tmp_path / "run", task=task)
    assert record["status"] == "finished"
    failures = [m["failure"] for m in record["measures"].values() if m.get("failure")]
    assert not failures


def test_r_squared_by_hand() -> None:
    y = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert r_squared(y, y) == 1
    assert r_squared(y.mean().expand(4), y) == pytest.approx(0)
    assert r_squared(torch.tensor([[1.0], [2], [3], [4]]), y.unsqueeze(1)) == pytest.approx(
        1 - 4 / 14
    )
    both = torch.stack([y, torch.ones(4)], 1)  # the second never varies
    assert r_squared(both, both) == 1
    with pytest.raises(UserError, match="all targets are the same"):
        r_squared(y, torch.ones(4))
    with pytest.raises(UserError, match="one output for each target"):
        r_squared(torch.zeros(4, 2), y)


def test_macro_f1_by_hand() -> None:
    y = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0]]).bool()
    said = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, 1, -1]])
    # first: 1 right, 1 missed: 2/3; second: all right; third: of nobody, left out
    assert macro_f1(said, y) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1(said, y.float()) == macro_f1(said, y)
    with pytest.raises(UserError, match=r"\(n, labels\)"):
        macro_f1(said, y[:, 0])


def test_values_with_split_are_in_memory(tmp_path: Path) -> None:
    assert isinstance(Task.from_csv(written(tmp_path, ROWS), "pay").load(None).train, Split)


@pytest.mark.parametrize("unit", ["e300", "e-300"])
def test_huge_and_tiny_numbers_are_standardised(tmp_path: Path, unit: str) -> None:
    rows = [{"size": f"{i + 1}{unit}", "pay": f"{i * 1.5}{unit}"} for i in range(60)]
    data = Task.from_csv(written(tmp_path, rows), "pay", kind=bp.Values()).load(None)
    for part in data.train.batch(slice(None)):
        assert part.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("column", ["age", "pay"])
def test_an_infinite_number_makes_no_column_of_categories(tmp_path: Path, column: str) -> None:
    rows = [*ROWS, ROWS[0] | {column: "inf"}]
    with pytest.raises(UserError, match=f"column '{column}' holds 'inf' among numbers"):
        Task.from_csv(written(tmp_path, rows), "pay")


@pytest.mark.parametrize(
    ("text", "target"), [("a;b\n1;2\n", "b"), ("a\tb\n1\t2\n", "b"), ("a;b\n1,5;2,5\n", "b")]
)
def test_another_delimiter_is_named(tmp_path: Path, text: str, target: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r'set delimiter to "(;|\\t)"$'):
        Task.from_csv(path, target)


@pytest.mark.parametrize("target", [2, [], ["pay", 3]])
def test_a_target_that_is_no_name_is_refused(tmp_path: Path, target: Any) -> None:
    with pytest.raises(UserError, match="target must be a name of a column"):
        Task.from_csv(written(tmp_path, ROWS), target)


def test_a_spec_without_a_target_lists_the_columns(tmp_path: Path) -> None:
    spec = {"task": "from_csv", "path": str(written(tmp_path, ROWS))}
    with pytest.raises(UserError, match=r"target must name the column .*; people.csv has .*job"):
        tasks.find(spec)
    assert tasks.find(spec | {"target": "job"}).name == "people"


def test_the_summary_names_columns_that_may_be_numbers_of_rows(tmp_path: Path) -> None:
    rows = [{"id": str(n), "size": str(n / 7), "job": "ab"[n % 2]} for n in range(40)]
    path = written(tmp_path, rows)
    told = (
        "id has a different value in every row; to leave out columns that number the rows, name "
        "them in ignore"
    )
    assert told in Task.from_csv(path, "job").summary
    assert "ignore" not in Task.from_csv(path, "job", ignore=("id",)).summary
    assert told in Task.from_csv(path, "id", ignore=("job",)).summary  # a regression of numbers
    path = written(tmp_path, [row | {"id": f"no. {row['id']}"} for row in rows])
    assert told in Task.from_csv(path, "job").summary
    with pytest.raises(UserError, match=r"there is 1 sample of class 'no\. 0'"):
        Task.from_csv(path, "id")
