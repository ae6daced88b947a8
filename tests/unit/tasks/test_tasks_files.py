import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from beyondprop.errors import UserError
from beyondprop.tasks import files

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("date", [0, 1_500_000_000])
def test_the_header_of_a_gzip_file_does_not_matter(tmp_path: Path, date: int) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(gzip.compress(CONTENT, mtime=date))
    assert files.read(path, SHA256) == CONTENT


@pytest.mark.parametrize("name", ["data", "data.gz"])
def test_compression_is_seen_in_the_bytes_not_in_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENT)
    assert files.read(path, SHA256) == CONTENT
    path.write_bytes(gzip.compress(CONTENT))
    assert files.read(path, SHA256) == CONTENT


def test_a_truncated_gzip_file_is_damaged(tmp_path: Path) -> None:
    path, packed = tmp_path / "data.gz", gzip.compress(CONTENT)
    for length in range(2, len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(UserError, match="is damaged"):
            files.read(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path, packed = tmp_path / "data.gz", gzip.compress(CONTENT)
    for position in range(10, len(packed)):
        path.write_bytes(packed[:position] + bytes([packed[position] ^ 4]) + packed[position + 1 :])
        with pytest.raises(UserError, match="is damaged"):
            files.read(path, SHA256)


def test_another_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="belongs to another data set") as raised:
        files.read(path, SHA256)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        files.read(tmp_path / "missing")
    with pytest.raises(UserError, match="cannot be read"):
        files.read(tmp_path)


def test_md5_serves_where_no_sha256_is_published(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    assert files.read(path, hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()) == CONTENT
    with pytest.raises(UserError, match="its MD5 is not the published one"):
        files.read(path, "0" * 32)


def test_an_archive_is_left_compressed(tmp_path: Path) -> None:
    path, packed = tmp_path / "data.tar.gz", gzip.compress(CONTENT)
    path.write_bytes(packed)
    digest = hashlib.sha256(packed).hexdigest()
    assert files.read(path, digest, unpack=False) == packed
    with pytest.raises(UserError, match="SHA-256"):
        files.read(path, digest)


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(2**23)))  # 8 MiB in 8 kB
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        files.read(path, SHA256, largest=1000)  # published, and larger than it was published
    assert len(files.read(path)) == 2**23  # few enough bytes not to matter
    monkeypatch.setattr(files, "LARGEST", 2**20)
    with pytest.raises(UserError, match="unpacks to more than 64 times its size and 1,048,576"):
        files.read(path)
    honest = tmp_path / "honest.gz"
    honest.write_bytes(gzip.compress(np.random.default_rng(0).bytes(2**21)))
    assert len(files.read(honest)) == 2**21


def test_a_file_that_is_larger_than_published_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="more than 268,435,456 bytes"):
        files.read(path, SHA256)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_text_without_ends_of_lines_is_not_taken_as_one_line(
    tmp_path: Path, compressed: bool
) -> None:
    path, content = tmp_path / "text", b"a\n" + b"b" * files.LONGEST_LINE + b"c"
    path.write_bytes(gzip.compress(content) if compressed else content)
    lines = files.lines(path)
    assert next(lines) == "a\n"
    with pytest.raises(UserError, match="a line of more than 1,048,576 bytes"):
        next(lines)


def test_a_small_archive_of_arrays_that_unpacks_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, numbers=np.zeros(2**23, np.uint8))
    (numbers,) = files.arrays(path, ("numbers",), "numbers")
    assert len(numbers) == 2**23
    monkeypatch.setattr(files, "LARGEST", 2**20)
    with pytest.raises(UserError, match=r"as numbers \(it unpacks to 8,388,\d+ bytes"):
        files.arrays(path, ("numbers",), "numbers")
