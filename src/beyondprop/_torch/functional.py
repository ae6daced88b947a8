"""Calling a module with other tensors instead of its own."""

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
    """Return a module's output with other tensors as some of its parameters and buffers.

    Like `torch.func.functional_call`, which processes a module with several names once for each
    name, and finally restores one of the replacements (PyTorch 2.13). Here each module is processed
    once, and a tensor that several modules share is replaced in all of them.

    Args:
        module: The module; its own tensors are restored afterwards.
        tensors: Replacements, by the names of the tensors that they replace.
        inputs: Positional arguments.
        keywords: Keyword arguments.
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
