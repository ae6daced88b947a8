"""Calling a module with other tensors in place of its own."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


def call_with(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    inputs: Sequence[Any],
    keywords: Mapping[str, Any] | None = None,
) -> Any:
    """Return what a module makes with other tensors for some of its parameters and buffers.

    As `torch.func.functional_call`, which takes a module that has several names once for each, and
    in the end gives it back a tensor that was put in (PyTorch 2.13). Here each module is taken
    once, and a tensor that several modules share is replaced in all of them.

    Args:
        module: The module; it has its own tensors back afterwards.
        tensors: By the names of those that they replace.
        inputs: What it is called with.
        keywords: What it is called with by name.
    """
    own = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    replaced = {id(tensor): tensors[name] for name, tensor in own if name in tensors}
    named = {}
    for prefix, inner in module.named_modules():
        for name, tensor in chain(
            inner.named_parameters(recurse=False, remove_duplicate=False),
            inner.named_buffers(recurse=False, remove_duplicate=False),
        ):
            if id(tensor) in replaced:
                named[f"{prefix}.{name}" if prefix else name] = replaced[id(tensor)]
    return torch.func.functional_call(
        module, named, tuple(inputs), dict(keywords or {}), tie_weights=False
    )
