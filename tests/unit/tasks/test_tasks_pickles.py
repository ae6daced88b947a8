import contextlib
import pickle
import tracemalloc
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
from beyondprop.tasks.unpickling import unpickled

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
        "beyondprop.tasks.unpickling\nTold",
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


def test_a_name_of_megabytes_is_not_told_as_a_whole() -> None:
    content = b"\x80\x02X" + (10**6).to_bytes(4, "little") + b"x" * 10**6 + b"X\x01\0\0\0y\x93."
    with pytest.raises(UserError, match="not a pickle") as refused:
        pickles.parse(content, "the batch")
    assert "it names xxx" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_another_content_is_refused() -> None:
    with pytest.raises(UserError, match="x holds a list, not a dictionary"):
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
        told = unpickled(pickle.dumps(held, protocol), "x", pickles.SPARSE)
        np.testing.assert_array_equal(pickles.matrix(told, "x"), values)


def test_a_sparse_matrix_whose_parts_do_not_fit_is_refused() -> None:
    for part, value in (("indices", [0, 9]), ("indptr", [0, 5, 1]), ("_shape", (1, 1))):
        held = csr_matrix(np.eye(2))
        setattr(held, part, np.array(value, np.int32) if part != "_shape" else value)
        told = unpickled(pickle.dumps(held, 4), "x", pickles.SPARSE)
        with pytest.raises(UserError, match=r"x is not a sparse matrix by rows \(csr\)"):
            pickles.matrix(told, "x")


def test_a_dictionary_of_lists_is_read() -> None:
    lists = {0: [1, 2], 3: []}
    for held in (lists, defaultdict(list, lists)):
        for protocol in (2, 4):
            told = unpickled(pickle.dumps(held, protocol), "x", pickles.LISTS)
            assert pickles.lists(told, "x") == lists


def nested(depth: int) -> bytes:
    """A dictionary whose only key is of so many tuples, each twice in the next."""
    return b"\x80\x02})" + b"2\x86" * depth + b"Ns."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", None),  # Python sets 17 GB aside
        (b"\x80\x02}r\xff\xff\xff\x03.", None),
        (nested(60), "keys that are neither numbers nor texts"),  # 2**60 hashes
        (b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.", "keys that are neither"),  # ends Python
        (b"\x80\x02}(" + b"]" * 3_000_000 + b"1.", "more than 2,000,000 operations"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "expected 1099511627775 bytes"),
        (b"\x80\x02B\xff\xff\xff\x7f.", "expected 2147483647 bytes"),
        (b"\x80\x02}U\x01a\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b"s.", "more than 64 bits"),
        (b"\x80\x02e.", "IndexError|list index"),
        (b"\x80\x02}Na.", "appends to an object that is not a list"),
        (b"\x80\x02]]R.", "calls something that it has not named"),
        (b"\x80\x02]Nb.", "builds a value that is not an object"),
        (b"\x80\x02s.", "takes more values than it has put on the stack"),
        (b"\x80\x02}Nt.", "collects without a mark"),
        (b"\x80\x04}\x8f.", "its operation EMPTY_SET is not needed for plain data"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{len(value or b'')} bytes",
)
def test_a_small_pickle_costs_little(content: bytes, message: str | None) -> None:
    tracemalloc.start()
    try:
        if message is None:
            assert unpickled(content, "x", pickles.ARRAYS) == {}
        else:
            with pytest.raises(UserError, match=message):
                unpickled(content, "x", pickles.ARRAYS)
        assert tracemalloc.get_traced_memory()[1] < 400 * 2**20
    finally:
        tracemalloc.stop()


def test_a_sparse_matrix_of_few_numbers_is_not_written_out_as_a_terabyte() -> None:
    wide = csr_matrix((np.ones(1), np.zeros(1, np.int32), np.array([0, 1])), shape=(1, 2**40))
    told = unpickled(pickle.dumps(wide, 4), "x", pickles.SPARSE)
    with pytest.raises(UserError, match="x has 1 × 1099511627776 numbers, which is more than"):
        pickles.matrix(told, "x")


def test_the_reader_agrees_with_pythons_own_on_plain_data() -> None:
    held = {
        "a": [1, -5, 2**40, 1.5, None, True],
        b"b": ((), (1,), (1, 2, 3, 4)),
        3: {"c": "é" * 300},
    }
    held["again"] = held["a"]
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        assert unpickled(pickle.dumps(held, protocol), "x", pickles.ARRAYS) == held
