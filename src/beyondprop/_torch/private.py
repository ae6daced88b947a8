"""What PyTorch keeps under private names alone: hooks, parameters, compiled forms, scalers."""

import gc
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel


def hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    """Return the tables that hold a module's own hooks; they are empty where it has none.

    PyTorch offers no public way to ask. A fused chain calls no child, so it gives way to hooks.
    """
    return [module._forward_hooks, module._forward_pre_hooks, *backward_hook_tables(module)]


def backward_hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    """Return the tables that hold a module's own backward hooks."""
    return [module._backward_hooks, module._backward_pre_hooks]


def own_parameters(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the table of a module's own parameters.

    As attributes they pass `Module.__getattr__`, which takes as long as a small product.
    """
    return module._parameters  # type: ignore[return-value]


def child_table(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the table of a module's children, in which they are replaced, added and removed.

    `Module.children` makes a generator and a set, which take longer than it takes to compare them.
    """
    return module._modules


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` or `Module.compile` has made this module.

    PyTorch marks both by private attributes only; hooks put on such a module are never called.
    """
    compiled = getattr(module, "_compiled_call_impl", None)
    return hasattr(module, "_orig_mod") or compiled is not None


def in_backward() -> bool:
    """Whether autograd goes backward just now, as when checkpointing computes something again."""
    return torch._C._current_graph_task_id() != -1


def waits_for_all() -> bool:
    """Whether a `DistributedDataParallel` runs just now that waits for each parameter's gradient.

    What it wraps has no public way to ask; without this it fails in the second step.
    """
    found = DistributedDataParallel._get_active_ddp_module()
    return found is not None and not (found.find_unused_parameters or found.static_graph)


def scaler_in_use() -> bool:
    """Whether a gradient scaler has scaled a loss in this process.

    PyTorch keeps no list of them. The search takes some 20 ms, so it is for losses that look so.
    """
    kinds: list[Any] = [GradScaler, *GradScaler.__subclasses__()]
    found = (o for kind in kinds for o in gc.get_referrers(kind) if isinstance(o, kind))
    return any(scaler.is_enabled() and scaler._scale is not None for scaler in found)
