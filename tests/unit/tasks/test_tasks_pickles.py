import contextlib
import pickle
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_mirror import pickled_array, pickled_batch, pickled_labels, tiny_batches
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from beyondprop.errors import UserError
from beyondprop.tasks import pickles

VALUES = np.arange(600, dtype=np.uint8).reshape(20, 30)


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_reads_what_pythons_own_unpickler_reads(order: Callable[..., NDArray[Any]]) -> None:
    content = pickled_batch(pickled_array(order(VALUES)), pickled_labels([3, 1, 2]))
    expected = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(expected[b"data"], VALUES)
    found = pickles.parse(content, "x")
    assert found.keys() == expected.keys()
    assert found[b"labels"] == expected[b"labels"] == [3, 1, 2]
    np.testing.assert_array_equal(pickles.array(found[b"data"], "x"), VALUES)


class Malicious:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({b"data": Malicious(tmp_path / "trace")}, protocol)
    with pytest.raises(UserError, match=r"not a pickle of plain data .*it names .*no array needs"):
        pickles.parse(content, "x")
    assert not list(tmp_path.iterdir())
    pickle.loads(content)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "name",
    [
        "os\nsystem",
        "builtins\neval",
        "__builtin__\neval",
        "numpy\nload",
        "numpy\nndarray.tofile",
        "numpy.core.multiarray\nfromfile",
        "beyondprop.tasks.pickles\nTold",
        "copyreg\n_reconstructor",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="no array needs"):
        pickles.parse(b"\x80\x02c" + name.encode() + b"\n.", "x")


@given(cut=st.integers(1, 4000))
def test_any_missing_end_is_noticed(cut: int) -> None:
    content = pickled_batch(pickled_array(VALUES), pickled_labels([3, 1, 2]))
    with pytest.raises(UserError, match=r"^x is not a pickle of plain data"):
        pickles.parse(content[: max(0, len(content) - cut)], "x")


@given(position=st.integers(2, 200), byte=st.integers(0, 255))
def test_any_other_byte_is_data_or_a_user_error(position: int, byte: int) -> None:
    content = tiny_batches()["test_batch"]
    content = content[:position] + bytes([byte]) + content[position + 1 :]
    with contextlib.suppress(UserError):
        found = pickles.parse(content, "x")
        pickles.array(found.get(b"data"), "x")


def test_another_content_is_refused() -> None:
    with pytest.raises(UserError, match="x holds no dictionary but a list"):
        pickles.parse(b"\x80\x02].", "x")


@pytest.mark.parametrize(
    "data",
    [
        b"N",
        pickled_labels([1, 2]),
        b"cnumpy\nndarray\n",
        b"cnumpy\nndarray\n)R",
        pickled_array(VALUES, kind=b"O8"),
        pickled_array(VALUES, kind=b"i8"),
        pickled_array(VALUES).replace(b"J\x14\0\0\0", b"J\x15\0\0\0"),
    ],
    ids=["none", "list", "class", "no state", "objects", "wide", "other shape"],
)
def test_what_is_no_array_of_bytes_is_refused(data: bytes) -> None:
    found = pickles.parse(pickled_batch(data, pickled_labels([1])), "x")
    with pytest.raises(UserError, match="x is not an array of uint8"):
        pickles.array(found[b"data"], "x")


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i4", "<i8", "|u1"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_sparse_matrices_of_numbers_are_read(kind: str, protocol: int) -> None:
    values = (np.arange(12) % 5 * (np.arange(12) % 3)).reshape(3, 4).astype(kind)
    for held in (values, csr_matrix(values.astype(values.dtype.newbyteorder("=")))):
        told = pickles.unpickled(pickle.dumps(held, protocol), "x", pickles.SPARSE)
        np.testing.assert_array_equal(pickles.matrix(told, "x"), values)


def test_a_sparse_matrix_whose_parts_do_not_fit_is_refused() -> None:
    for part, value in (("indices", [0, 9]), ("indptr", [0, 5, 1]), ("_shape", (1, 1))):
        held = csr_matrix(np.eye(2))
        setattr(held, part, np.array(value, np.int32) if part != "_shape" else value)
        told = pickles.unpickled(pickle.dumps(held, 4), "x", pickles.SPARSE)
        with pytest.raises(UserError, match=r"x is not a sparse matrix by rows \(csr\)"):
            pickles.matrix(told, "x")


def test_a_dictionary_of_lists_is_read() -> None:
    lists = {0: [1, 2], 3: []}
    for held in (lists, defaultdict(list, lists)):
        for protocol in (2, 4):
            told = pickles.unpickled(pickle.dumps(held, protocol), "x", pickles.LISTS)
            assert pickles.lists(told, "x") == lists
