import contextlib
import gzip
import os
import re
import sys
import threading
import time
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from idx_mirror import Contents, Mirror, put

from beyondprop.errors import UserError, install
from beyondprop.tasks import FileSource, data, download
from beyondprop.tasks.download import download as downloaded


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def folder_of(found: dict[str, Path], source: FileSource) -> Path:
    """The one folder that all files lie in."""
    assert found.keys() == source.files.keys()
    (folder,) = {path.parent for path in found.values()}
    return folder


def test_order_of_the_places(
    tmp_path: Path,
    cache: Path,
    source: FileSource,
    contents: Contents,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each place, once it is filled, is preferred to those filled before it."""
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("BEYONDPROP_DATA", str(tmp_path / "named"))

    assert folder_of(data.find(source), source) == cache / "tiny"  # downloaded
    assert len(mirror.requests) == 4
    assert folder_of(data.find(source), source) == cache / "tiny"  # found there
    in_named = put(tmp_path / "named/tiny", contents)
    assert folder_of(data.find(source), source) == in_named
    given = put(tmp_path / "given/tiny", contents)
    assert folder_of(data.find(source, tmp_path / "given"), source) == given
    assert len(mirror.requests) == 4


@pytest.mark.parametrize("layout", ["tiny", "Tiny/raw", "."])
def test_layouts_of_a_given_folder(
    tmp_path: Path, source: FileSource, contents: Contents, layout: str
) -> None:
    put(tmp_path / "given" / layout, contents)
    found = data.find(source, tmp_path / "given")
    assert folder_of(found, source) == tmp_path / "given" / layout


@pytest.mark.parametrize(
    ("given", "layout"), [("Tiny", "Tiny/raw"), (".", "deeper/tiny"), (".", "deeper/Tiny/raw")]
)
def test_files_may_lie_one_folder_deeper(
    tmp_path: Path, source: FileSource, contents: Contents, given: str, layout: str
) -> None:
    put(tmp_path / "given" / layout, contents)
    found = data.find(source, tmp_path / "given" / given)
    assert folder_of(found, source) == tmp_path / "given" / layout


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_spellings_and_folders_of_the_files_own_names(
    tmp_path: Path, source: FileSource, end: str, spelling: str, unpacked: bool
) -> None:
    spelled = replace(source, others={name: name.replace("-idx", ".idx") for name in source.files})
    expected = {}
    for name in source.files:
        file = name.replace("-idx", spelling) + end
        expected[name] = tmp_path / "given" / (name if unpacked else ".") / file
        expected[name].parent.mkdir(parents=True, exist_ok=True)
        expected[name].touch()
    assert data.find(spelled, tmp_path / "given") == expected


def test_a_named_folder_with_some_of_the_files_is_an_error_not_a_download(
    tmp_path: Path,
    cache: Path,
    source: FileSource,
    contents: Contents,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incomplete = put(tmp_path / "named/tiny", contents)
    (incomplete / "t10k-images-idx3-ubyte.gz").unlink()
    monkeypatch.setenv("BEYONDPROP_DATA", str(tmp_path / "named"))
    said = f"is not in {tmp_path / 'named'}: {incomplete} lacks t10k-images-idx3-ubyte; add them"
    with pytest.raises(UserError, match=said):
        data.find(source)
    assert not mirror.requests
    put(cache / "tiny", contents)
    assert folder_of(data.find(source), source) == cache / "tiny"


def test_files_need_not_be_compressed(
    tmp_path: Path, source: FileSource, contents: Contents, mirror: Mirror
) -> None:
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert data.find(source, tmp_path) == {name: tmp_path / name for name in contents}
    assert not mirror.requests


def test_a_given_folder_without_the_files_is_an_error_not_a_download(
    tmp_path: Path, cache: Path, source: FileSource, contents: Contents, mirror: Mirror
) -> None:
    put(cache / "tiny", contents)
    incomplete = put(tmp_path / "given/tiny", contents)
    (incomplete / "t10k-images-idx3-ubyte.gz").unlink()
    (tmp_path / "other").mkdir()
    for name in "fedcba":
        (tmp_path / "other" / name).touch()
    for folder, near in (
        ("given", f": {incomplete} lacks t10k-images-idx3-ubyte"),
        ("given/tiny", f": {incomplete} lacks t10k-images-idx3-ubyte"),
        ("nowhere", ", which is not a folder that can be read"),
        ("other", ", which holds a, b, c, d, e and 1 more"),
    ):
        said = rf"^Tiny-MNIST is not in {tmp_path / folder}{near}; put its files \(tra"
        with pytest.raises(UserError, match=said):
            data.find(source, tmp_path / folder)
    assert not mirror.requests


def test_data_folder_is_one_of_data_sets(
    tmp_path: Path,
    cache: Path,
    source: FileSource,
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loose files in it may be another data set's: MNIST's and Fashion-MNIST's share names."""
    monkeypatch.setenv("BEYONDPROP_DATA", str(put(tmp_path / "named", contents)))
    put(cache / "tiny", contents)
    assert folder_of(data.find(source), source) == cache / "tiny"


def test_mistyped_data_folder_is_an_error(
    source: FileSource, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEYONDPROP_DATA", "/no/such/folder")
    with pytest.raises(UserError, match="BEYONDPROP_DATA names /no/such/folder, which is not"):
        data.find(source)
    assert not mirror.requests


def test_only_what_the_cache_lacks_is_downloaded(
    cache: Path, source: FileSource, contents: Contents, mirror: Mirror
) -> None:
    put(cache / "tiny", contents)
    (cache / "tiny/t10k-labels-idx1-ubyte.gz").unlink()
    found = data.find(source)
    assert mirror.requests == ["t10k-labels-idx1-ubyte.gz"]
    assert {name: gzip.decompress(path.read_bytes()) for name, path in found.items()} == contents


def test_second_mirror_serves_when_the_first_fails(source: FileSource, mirror: Mirror) -> None:
    both = replace(source, urls=(mirror.url + "gone/", mirror.url))
    assert all(path.exists() for path in data.find(both).values())
    assert len(mirror.requests) == 8


def test_what_is_not_the_published_file_is_never_kept(
    cache: Path, source: FileSource, mirror: Mirror
) -> None:
    (mirror.folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"a login page"))
    with pytest.raises(UserError, match="not the published file"):
        data.find(source)
    assert not list((cache / "tiny").iterdir())


class Liar(BaseHTTPRequestHandler):
    """Answers with whatever the first part of the path names."""

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # whoever asked has gone
            getattr(self, self.path.split("/")[1])()

    def endless(self) -> None:
        self.answer({})
        for _ in range(2**10):
            self.wfile.write(bytes(2**16))

    def trickle(self) -> None:
        self.answer({})
        for _ in range(40):  # longer than it is waited for
            self.wfile.write(b"x")
            time.sleep(0.05)

    def headers_for_ever(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(40):  # longer than it is waited for
            self.wfile.write(b"x")
            time.sleep(0.05)

    def too_long(self) -> None:
        self.answer({"Content-Length": "1000001"})

    def too_short(self) -> None:
        self.answer({"Content-Length": "1000"})
        self.wfile.write(b"short")

    def no_length(self) -> None:
        self.answer({"Content-Length": "many"})
        self.wfile.write(b"short")

    def bomb(self) -> None:
        self.answer({})
        self.wfile.write(gzip.compress(bytes(2**22)))

    def answer(self, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


LIES = {
    "endless": "more than 1,000,000 bytes",
    "trickle": "too slow",
    "headers_for_ever": "too slow",
    "too_long": "more than 1,000,000 bytes",
    "too_short": "ChunkedEncodingError",
    "no_length": "not the published file",
    "bomb": "not the published file",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_costs_little_and_the_next_one_is_asked(
    source: FileSource, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    monkeypatch.setattr(download, "GRACE", 0.3)
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        first = f"http://127.0.0.1:{server.server_port}/{lie}/"
        small = replace(source, urls=(first,), largest=10**6)
        with pytest.raises(UserError, match=LIES[lie]):
            data.find(small)
        found = data.find(replace(small, urls=(first, mirror.url)))
        assert all(path.exists() for path in found.values())
        server.shutdown()
        thread.join()


def test_when_nothing_works_one_line_says_what_to_do(source: FileSource) -> None:
    nowhere = replace(source, urls=("http://127.0.0.1:1/",))
    with pytest.raises(UserError) as raised:
        data.find(nowhere)
    message = str(raised.value)
    assert "\n" not in message
    assert "http://127.0.0.1:1/train-images-idx3-ubyte.gz: ConnectionError" in message
    assert "put its files (train-images-idx3-ubyte.gz, " in message
    assert "into a folder tiny/ in a folder that data= or BEYONDPROP_DATA names" in message


def test_without_requests_the_extra_is_named(
    source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(UserError, match=re.escape(f"{install('data')}; or put its files")):
        data.find(source)


def test_unwritable_cache_is_named(cache: Path, source: FileSource) -> None:
    cache.write_text("not a folder")
    with pytest.raises(UserError, match=f"{cache / 'tiny'} cannot be written"):
        data.find(source)


@pytest.mark.parametrize(
    ("platform", "variable", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "/x", "/x/beyondprop"),
        ("linux", "XDG_CACHE_HOME", None, "/home/ada/.cache/beyondprop"),
        ("darwin", "XDG_CACHE_HOME", "/x", "/home/ada/Library/Caches/beyondprop"),
        ("win32", "LOCALAPPDATA", "/local", "/local/beyondprop"),
        ("win32", "BEYONDPROP_CACHE", "~/kept", "/home/ada/kept"),
    ],
)
def test_cache_folder(
    platform: str,
    variable: str,
    value: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/ada")
    for name in ("BEYONDPROP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    assert data.cache_folder() == Path(expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_link_is_followed_and_a_pipe_left_as_it_is(
    tmp_path: Path, contents: Contents, mirror: Mirror
) -> None:
    name = next(iter(contents))
    link, file = tmp_path / "link.gz", tmp_path / "elsewhere" / "file.gz"
    link.symlink_to(file)
    digest = sha256(contents[name]).hexdigest()
    downloaded([f"{mirror.url}{name}.gz"], link, digest)
    assert link.is_symlink()
    assert gzip.decompress(file.read_bytes()) == contents[name]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is not a regular file"):
        downloaded([f"{mirror.url}{name}.gz"], tmp_path / "pipe", digest)
    assert (tmp_path / "pipe").is_fifo()
