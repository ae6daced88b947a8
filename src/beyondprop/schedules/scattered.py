"""A model whose blocks are distributed over processes, and can be gathered again."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from beyondprop.core import Block
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.schedules.messages import reaching, share


class Scattered:
    """Keeps only the part of a model that its own process trains, and gathers the rest.

    Args:
        handle: The attachment to the complete model.
        optimizer: The optimizer of all parameters of the model and the handle; it steps only those
            with a gradient, which are the process's own.
        stages: The blocks of each process.
    """

    def __init__(
        self, handle: Attachment, optimizer: Optimizer, stages: Sequence[Sequence[Block]]
    ) -> None:
        self.handle = handle
        self.optimizer = optimizer
        self.stages = stages
        self.rank = dist.get_rank()
        self._hook: RemovableHandle | None = None

    def release(self) -> None:
        """Free weights, heads and moments of all blocks except this process's own."""
        if self._hook is not None:
            return
        for rank in range(len(self.stages)):
            for parameter in self._parameters(rank) if rank != self.rank else ():
                if not is_lazy(parameter):
                    parameter.data = parameter.data.new_empty(0)
                self.optimizer.state.pop(parameter, None)
        self._hook = self.handle.model.register_forward_pre_hook(_refused)

    def gather(self) -> None:
        """Bring weights, buffers, heads and moments of all blocks to every process.

        Raises:
            UserError: A stage cannot be reached.
        """
        if self._hook is None:
            return
        for rank in range(len(self.stages)):
            self._gather_from(rank)
        self._hook.remove()
        self._hook = None

    def _gather_from(self, rank: int) -> None:
        own, mine = self._parameters(rank), rank == self.rank
        shapes = share([None if is_lazy(p) else p.shape for p in own], rank)
        tensors = [_whole(p, shape) for p, shape in zip(own, shapes, strict=True) if shape]
        tensors += [buffer for block in self.stages[rank] for buffer in _buffers(block)]
        with reaching([rank]):
            for tensor in tensors:
                dist.broadcast(tensor, rank)
        places = [i for i, p in enumerate(self._held()) if any(p is one for one in own)]
        state: dict[str, Any] = self.optimizer.state_dict()
        moments = {i: _on_cpu(state["state"][i]) for i in places if i in state["state"]}
        moments = share(moments if mine else None, rank)
        if moments and not mine:
            self.optimizer.load_state_dict({**state, "state": {**state["state"], **moments}})

    def _parameters(self, rank: int) -> list[nn.Parameter]:
        """Return the parameters of a process's blocks, including their rules' state."""
        found = []
        for block in self.stages[rank]:
            found += [parameter for _, parameter in block.parameters()]
            taught = self.handle.taught(block)
            state = taught.state.values() if taught is not None else ()
            found += [t for t in state if isinstance(t, nn.Parameter)]
        return found

    def _held(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _whole(parameter: nn.Parameter, shape: torch.Size) -> Tensor:
    """Return a parameter's tensor, allocated with this shape if it was freed or is lazy."""
    if isinstance(parameter, UninitializedParameter):
        parameter.materialize(shape)
    elif parameter.shape != shape:
        parameter.data = parameter.data.new_empty(shape)
    return parameter.data


def _buffers(block: Block) -> list[Tensor]:
    return [buffer for _, module in block.modules for buffer in module.buffers()]


def _on_cpu(moments: dict[str, Any]) -> dict[str, Any]:
    return {k: v.cpu() if isinstance(v, Tensor) else v for k, v in moments.items()}


def _refused(_module: nn.Module, _inputs: Any) -> None:
    raise UserError(
        "the model's blocks are now on several processes: train it with pipeline.step(x, y), and "
        "call pipeline.gather() on every process before any other use"
    )
