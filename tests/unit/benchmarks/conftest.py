from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Restore the number of threads, which every benchmark sets."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
