"""Uses of PyTorch's private attributes: hooks, parameters, compiled forms, scalers."""

import gc
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel


def hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    """Return the tables of a module's own hooks, which are empty if it has none.

    PyTorch offers no public access. A fused chain calls no children, so it is not used if they have
    hooks.
    """
    return [module._forward_hooks, module._forward_pre_hooks, *backward_hook_tables(module)]


def backward_hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    """Return the tables of a module's own backward hooks."""
    return [module._backward_hooks, module._backward_pre_hooks]


def own_parameters(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the table of a module's own parameters.

    Attribute access goes through `Module.__getattr__`, which takes as long as a small product.
    """
    return module._parameters  # type: ignore[return-value]


def child_table(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the table of a module's children, which changes when children do.

    `Module.children` creates a generator and a set, which takes longer than the comparison.
    """
    return module._modules


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` or `Module.compile` has compiled this module.

    PyTorch marks both only by private attributes; hooks added to such a module are never called.
    """
    compiled = getattr(module, "_compiled_call_impl", None)
    return hasattr(module, "_orig_mod") or compiled is not None


def in_backward() -> bool:
    """Whether a backward pass is running, for example when checkpointing recomputes a block."""
    return torch._C._current_graph_task_id() != -1


def waits_for_all() -> bool:
    """Whether a `DistributedDataParallel` that waits for every parameter's gradient is running.

    The wrapped module has no public way to find out; without this check it fails in the second
    step.
    """
    found = DistributedDataParallel._get_active_ddp_module()
    return found is not None and not (found.find_unused_parameters or found.static_graph)


def scaler_in_use() -> bool:
    """Whether a gradient scaler has scaled a loss in this process.

    PyTorch keeps no list of scalers. The search takes about 20 ms, so call it only if a loss looks
    scaled.
    """
    kinds: list[Any] = [GradScaler, *GradScaler.__subclasses__()]
    found = (o for kind in kinds for o in gc.get_referrers(kind) if isinstance(o, kind))
    return any(scaler.is_enabled() and scaler._scale is not None for scaler in found)
