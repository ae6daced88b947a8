"""Columns of a CSV file that are almost numbers, and whole numbers that a float cannot store."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.cli import main
from beyondprop.errors import UserError
from beyondprop.tasks import Task
from beyondprop.tasks.cells import check_numbers, is_numeric, number

ROWS = 40
NUMBERS = [f"{n / 7:.3f}" for n in range(ROWS)]


def written(folder: Path, cells: list[str], job: list[str] | None = None) -> Path:
    """A file with a column of numbers, a column of these cells, and classes."""
    job = job or ["xy"[n % 2] for n in range(len(cells))]
    lines = [f"{n}.5;{cell};{kind}" for n, (cell, kind) in enumerate(zip(cells, job, strict=True))]
    path = folder / "people.csv"
    path.write_text("\n".join(["size;age;job", *lines]), encoding="utf-8")
    return path


def table(path: Path, target: Any = "job", **settings: Any) -> Task:
    return Task.from_csv(path, target, delimiter=";", **settings)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([*NUMBERS[:4], "2\0", *NUMBERS[5:]], r"holds '2\\x00' among numbers, in row 5: correct"),
        (["-" if n % 3 else c for n, c in enumerate(NUMBERS)], "holds '-' among numbers, in row 2"),
        ([*NUMBERS[:9], "n.a.", "", "#N/A", *NUMBERS[12:]], "holds 'n.a.' .* in row 10: correct"),
        (["?", "null", "8", *["9", "unknown"] * 10], "holds 'unknown' among numbers, in row 5"),
        (["x" if n % 5 < 2 else str(n) for n in range(ROWS)], "holds 'x' among numbers, in row 1"),
        ([*NUMBERS[:7], "inf", "x", *NUMBERS[9:]], "holds 'inf' among numbers, in row 8: correct"),
        ([*["inf"] * 9, ""], "holds 'inf' among numbers, in row 1"),
        ([*NUMBERS[:7], "9" * 400, *NUMBERS[8:]], r"holds '9{79}\.\.\. among numbers, in row 8"),
        ([str(n) if n % 2 else f"1,{n + 100}" for n in range(ROWS)], "'1,100' .* row 1: write"),
        ([f"-{n},{n % 3}e5" for n in range(ROWS)], "'-0,0e5' among numbers, in row 1: write"),
        ([f"1.{n + 100}.500,5" for n in range(ROWS)], r"'1\.100\.500,5' .*, such as 1234\.5; or"),
        ([f"1'{n + 100}" for n in range(ROWS)], "among numbers, in row 1: write numbers with a"),
        ([f"{n}\N{NO-BREAK SPACE}500" for n in range(ROWS)], "among numbers, in row 1: write"),
        ([*["7,5"] * 8, "x", *["8,5"] * 9], "holds '7,5' among numbers, in row 1: write"),
    ],
)
def test_a_column_that_is_almost_numbers_is_refused(
    tmp_path: Path, cells: list[str], message: str
) -> None:
    path = written(tmp_path, cells)
    with pytest.raises(UserError, match=f"^people.csv: column 'age' .*{message}") as error:
        table(path)
    assert str(error.value).endswith(
        "; or name the column in categories (one-hot) or in ignore (left out)"
    )
    assert len(str(error.value)) < 330
    inputs, _ = table(path, categories=("age",)).load(None).train.batch(slice(None))
    assert set(inputs[:, 1:].unique().tolist()) <= {0.0, 1.0}
    inputs, _ = table(path, ignore=("age",)).load(None).train.batch(slice(None))
    assert inputs.shape[1] == 1


@pytest.mark.parametrize(
    ("cells", "categories"),
    [
        (["low", "high"] * 20, 2),
        (["low", "high", "none", "n/a"] * 10, 4),
        (["1", "low", "high"] * 14, 3),
        (["1", "x"] * 20, 2),
        ([*["other"] * 37, "0", "1", "2"], 4),
        (["S", "M", "36", "38"] * 10, 4),
        (["1_1", "1_2", "2_1"] * 14, 3),
        (["2024-01-01", "2024-01-02"] * 20, 2),
        (["01.02.2024", "01.03.2024"] * 20, 2),
        (["inf", "sup"] * 20, 2),
        (["a,b", "c,1"] * 20, 2),
    ],
)
def test_words_and_codes_are_categories(tmp_path: Path, cells: list[str], categories: int) -> None:
    inputs, _ = table(written(tmp_path, cells)).load(None).train.batch(slice(None))
    assert inputs.shape[1] == 1 + categories
    assert torch.equal(inputs[:, 1:].sum(1), torch.ones(len(inputs)))


@pytest.mark.parametrize("cells", [["1", "2", "3"] * 14, ["1", "", "?", "NaN", "2"] * 8, NUMBERS])
def test_numbers_stay_numbers(tmp_path: Path, cells: list[str]) -> None:
    assert "from 2 columns of numbers" in table(written(tmp_path, cells)).summary


@given(
    texts=st.lists(st.text("abc", min_size=1), max_size=9),
    numbers=st.lists(st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300), max_size=9),
)
def test_a_column_of_numbers_and_of_texts_is_one_or_the_other(
    texts: list[str], numbers: list[float]
) -> None:
    cells = [*map(repr, numbers), *texts]
    try:
        check_numbers("age", cells, "people.csv", "")
    except UserError:
        assert texts
        assert numbers
        assert len(numbers) > len(texts) or len(set(texts)) == 1
        return
    assert is_numeric(cells) == (not texts)
    assert len(numbers) <= len(texts) or not texts


@pytest.mark.parametrize("kind", [None, "values"])
def test_a_target_that_is_almost_numbers_is_refused(tmp_path: Path, kind: str | None) -> None:
    path = written(tmp_path, [*NUMBERS[:-1], "n.a."])
    with pytest.raises(
        UserError, match=r"'n.a.' among numbers, in row 40: .*; or set kind to clas"
    ):
        table(path, "age", kind=kind)
    with pytest.raises(UserError, match=r"in row 40: correct .* if the value is missing$"):
        table(path, ("age", "size"))


def test_a_target_of_digits_and_letters_is_classes_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, ["0", "1", "2", "3", "a"] * 8)
    with pytest.raises(UserError, match="'a' among numbers, in row 5"):
        table(path, "age")
    assert table(path, "age", kind="classes").load(None).classes == ("0", "1", "2", "3", "a")
    assert table(path, "age", separator=",").load(None).classes == ()


@pytest.mark.parametrize("first", [2**53 + 1, -(2**53) - 1, 10**18 + 73, 10**60 + 1])
def test_whole_numbers_that_lose_digits_are_refused(tmp_path: Path, first: int) -> None:
    path = written(tmp_path, [*["1", "2"] * 10, *[str(first + 2 * n) for n in range(20)]])
    message = (
        f"column 'age' holds '{first}', in row 21, and a 64-bit float cannot store all its digits"
    )
    with pytest.raises(
        UserError, match=rf"{message}: name the column in categories .*, or write a mea"
    ):
        table(path)
    with pytest.raises(
        UserError, match=rf"{message}: set kind to classes, or write a measured value as .*e\+"
    ):
        table(path, "age")
    assert table(path, ignore=("age",)).load(None).train.batch(slice(None))[0].shape[1] == 1
    assert table(path, categories=("age",)).load(None).train.batch(slice(None))[0].shape[1] > 9


@pytest.mark.parametrize("last", [str(2**53), str(2**60), "1e18", "1e300", "0" * 5000 + "7"])
def test_whole_numbers_that_a_float_stores_are_numbers(tmp_path: Path, last: str) -> None:
    cells = [*(str(n) for n in range(ROWS - 1)), last]
    assert "from 2 columns of numbers" in table(written(tmp_path, cells)).summary


def test_an_underscore_makes_a_code() -> None:
    assert number("1_2") is None
    assert number("12") == 12
    assert number("inf") is None


@pytest.mark.parametrize("delimiter", ["", "ab", "\n", '"', 5])
def test_a_delimiter_is_one_character(tmp_path: Path, delimiter: Any) -> None:
    with pytest.raises(UserError, match='delimiter must be one character, such as ";", not '):
        Task.from_csv(written(tmp_path, NUMBERS), "job", delimiter=delimiter)


def test_a_class_with_too_few_samples_is_told_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, NUMBERS, [*["x", "y"] * 18, "x", "z" * 300, "u", "u"])
    with pytest.raises(
        UserError, match=r"^people.csv: there are 2 samples of class 'u', and "
    ) as e:
        table(path)
    assert str(e.value).endswith("need one each: add samples, or leave the class out")
    path = written(tmp_path, NUMBERS, [*["x", "y"] * 18, *["x"] * 3, "z" * 300])
    with pytest.raises(UserError, match=r"there is 1 sample of class 'z{79}\.\.\., and training"):
        table(path)


@pytest.mark.parametrize("kind", ["labels", "values", "classes", None])
def test_long_cells_are_shortened(tmp_path: Path, kind: str | None) -> None:
    with pytest.raises(UserError, match=r"'x{79}\.\.\.") as error:
        table(written(tmp_path, ["x" * 400] * 20), "age", kind=kind)
    assert len(str(error.value)) < 200


def test_messages_name_arguments_alike_in_python_and_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = written(tmp_path, [f"text {n}" for n in range(200)])
    spec = f"task: from_csv, path: {texts}, target: job"
    for given_, told in (
        ("", 'set delimiter to ";"'),
        (', delimiter: ";"', "name it in ignore to"),
    ):
        assert main(["check", f"{{{spec}{given_}}}", "--rule", "dfa"]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert "=" not in error


def test_a_first_line_of_data_is_shortened_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f'{"9" * 400},"two\nlines"\n1,2\n')
    with pytest.raises(UserError, match=r"it has '9{79}\.\.\., 'two\\nlines'$"):
        Task.from_csv(path, "job")
