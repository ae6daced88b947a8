import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from idx_mirror import encode_idx
from numpy.typing import NDArray

from beyondprop.errors import UserError
from beyondprop.tasks import idx

ARRAYS = npst.arrays(
    dtype=st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]),
    shape=npst.array_shapes(min_dims=1, max_dims=4, max_side=5),
)


@given(array=ARRAYS)
def test_what_is_written_is_read(array: NDArray[Any]) -> None:
    found = idx.parse(encode_idx(array), "array")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(array=ARRAYS, cut=st.integers(min_value=1, max_value=64))
def test_any_missing_end_is_noticed(array: NDArray[Any], cut: int) -> None:
    with pytest.raises(UserError, match="array"):
        idx.parse(encode_idx(array)[:-cut], "array")


@given(content=st.binary(max_size=24).map(lambda tail: b"\0\0" + tail))
def test_any_bytes_are_an_array_or_a_user_error(content: bytes) -> None:
    with contextlib.suppress(UserError):
        assert idx.parse(content, "x").size > 0


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_files_and_checks_the_hash_of_the_content(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    content = encode_idx(np.array([[1, -2], [300, 4]], dtype=np.int16))
    path = tmp_path / "file"
    path.write_bytes(pack(content))
    assert idx.read(path).tolist() == [[1, -2], [300, 4]]
    with pytest.raises(UserError, match="SHA-256"):
        idx.read(path, sha256="0" * 64)


def test_arrays_are_writable_and_in_the_order_of_the_machine() -> None:
    found = idx.parse(encode_idx(np.array([1.5, 2.5], dtype=np.float32)), "x")
    assert found.dtype.isnative
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: it must start with two zero bytes"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file: it must start with two zero bytes"),
        (b"\0\0\x07\x01\0\0\0\0", "no type 0x07"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\x21" + bytes(4 * 33), "33 dimensions"),
        (b"\0\0\x08\x02\0\0\0\x01", "ends within its IDX header"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"says 3 bytes \(3,\), but 2 follow"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "but 4 follow"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "but 0 follow"),
        (b"\0\0\x08\x02\0\0\0\0\0\0\0\x05", "is empty"),
    ],
)
def test_malformed_content_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        idx.parse(content, "broken")
