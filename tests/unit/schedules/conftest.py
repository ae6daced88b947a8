"""Two processes, started once for all tests of schedules."""

import multiprocessing
import signal
import time

import pytest
import torch
import torch.distributed as dist

from tests.unit.schedules import two_stages

SECONDS = 120


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """What each of the two processes saved; they are started once for all tests."""
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this PyTorch was built without gloo")
    folder = tmp_path_factory.mktemp("schedules")
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=two_stages.work, args=(rank, str(folder))) for rank in range(2)
    ]
    for child in children:
        child.start()
    end = time.monotonic() + SECONDS
    try:
        for child in children:
            child.join(max(0, end - time.monotonic()))
        assert [child.exitcode for child in children] == [0, -signal.SIGKILL]
    finally:
        for child in children:
            if child.is_alive():
                child.kill()
            child.join()
            child.close()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
