import gzip
import hashlib
from pathlib import Path

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
