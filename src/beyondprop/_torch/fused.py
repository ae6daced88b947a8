"""PyTorch's fused kernels of transformers, which run in eval mode without gradients alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def unfused() -> Iterator[None]:
    """Turn these kernels off: they hide operations, and give zeros where tokens are padding."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
