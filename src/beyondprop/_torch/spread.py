"""Tensors that are sharded over processes, for example by `fully_shard` or `parallelize_module`."""

import sys
from typing import Any

from torch import Tensor, nn

MODULE = "torch.distributed.tensor"
SHARDED = "torch.distributed.fsdp"


def is_spread(tensor: Tensor) -> bool:
    """Whether a tensor is a `DTensor`; the check does not load its module."""
    if type(tensor) is Tensor:
        return False
    module: Any = sys.modules.get(MODULE)
    return module is not None and isinstance(tensor, module.DTensor)


def gathers(model: nn.Module) -> bool:
    """Whether `fully_shard` was applied to a part of a model, which gathers parameters to run."""
    module: Any = sys.modules.get(SHARDED)
    return module is not None and any(isinstance(m, module.FSDPModule) for m in model.modules())


def spread_like(whole: Tensor, like: Tensor) -> Tensor:
    """Return a tensor that every process has in full, sharded like another of the same shape."""
    if not is_spread(like):
        return whole
    module: Any = sys.modules[MODULE]
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    everywhere = [module.Replicate()] * mesh.ndim
    copies = module.DTensor.from_local(whole, mesh, everywhere, run_check=False)
    spread: Tensor = copies.redistribute(mesh, placements)
    return spread


def part_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of this process's part of a sharded tensor."""
    part: Any = tensor
    return tuple(part.to_local().shape)
