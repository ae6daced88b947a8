import hashlib
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from idx_mirror import Contents, Mirror, MirrorHandler, put, tiny_mnist

from beyondprop.tasks import FileSource


@pytest.fixture(autouse=True)
def _clean_surrounding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's data nor the user's cache is looked at; imports leave no trace."""
    monkeypatch.delenv("BEYONDPROP_DATA", raising=False)
    monkeypatch.setenv("BEYONDPROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def contents() -> Contents:
    return tiny_mnist()


@pytest.fixture
def mirror(tmp_path: Path, contents: Contents) -> Iterator[Mirror]:
    served = Mirror(put(tmp_path / "mirror", contents))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(MirrorHandler, served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def source(contents: Contents, mirror: Mirror) -> FileSource:
    """The data set of `contents`, to be had from `mirror`."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return FileSource("Tiny-MNIST", ("tiny", "Tiny/raw"), hashes, (mirror.url,))
