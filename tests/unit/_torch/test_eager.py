"""Functions that run as plain Python in compiled models too."""

import torch

from beyondprop._torch.eager import eager

CALLS = []


@eager
def counted(x: torch.Tensor) -> torch.Tensor:
    """Say how often it was called."""
    CALLS.append(x)
    return x + len(CALLS)


def test_it_counts_in_a_compiled_function_too():
    CALLS.clear()
    assert counted(torch.zeros(())).item() == 1
    compiled = torch.compile(lambda x: counted(x) * 1, backend="eager")
    assert [compiled(torch.zeros(())).item() for _ in range(4)] == [2, 3, 4, 5]
    assert counted(torch.zeros(())).item() == 6


def test_it_looks_like_the_function():
    assert counted.__name__ == "counted"
    assert counted.__doc__ == "Say how often it was called."
