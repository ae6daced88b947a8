"""Settings that hold for all tests."""

import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("beyondprop", deadline=None)  # a busy machine proves nothing
settings.load_profile("beyondprop")


@pytest.fixture(autouse=True)
def _seeded():
    torch.default_generator.manual_seed(0)  # torch.manual_seed takes longer than most tests


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as on a terminal, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
