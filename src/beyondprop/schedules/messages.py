"""Messages between stages: tensors, sent with a header that gives their shape, and plain values."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from beyondprop.errors import UserError

DTYPES = (
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.bool,
)
DIMENSIONS = 8

Transfer = Callable[[Tensor], Any]
"""Starts to send or receive a tensor; returns an object with a ``wait`` method."""


class Outbox:
    """Tensors that are being sent to other stages.

    Args:
        most: The maximum number of tensors in transit; sending another waits for the oldest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: deque[tuple[Any, Tensor, Sequence[int]]] = deque()

    def send(self, tensor: Tensor, transfer: Transfer, to: Sequence[int]) -> None:
        """Start to send a tensor, without waiting for its arrival.

        Raises:
            UserError: A stage cannot be reached.
        """
        tensor = tensor.contiguous()
        with reaching(to):
            for part in (_header(tensor), tensor):
                self._under_way.append((transfer(part), part, to))
        self._wait(2 * self._most)

    def empty(self) -> None:
        """Wait until all tensors have arrived."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        while len(self._under_way) > most:
            work, _, to = self._under_way.popleft()
            with reaching(to):
                work.wait()


def receive(transfer: Transfer, source: int, device: torch.device) -> Tensor:
    """Return a tensor that another stage sent.

    Raises:
        UserError: The stage cannot be reached.
    """
    header = torch.empty(2 + DIMENSIONS, dtype=torch.int64, device=device)
    with reaching([source]):
        transfer(header).wait()
        dtype, dimensions, *sizes = header.tolist()
        tensor = torch.empty(sizes[:dimensions], dtype=DTYPES[dtype], device=device)
        transfer(tensor).wait()
    return tensor


def share(value: Any, source: int) -> Any:
    """Return the value of the process ``source`` on every process.

    Raises:
        UserError: A process cannot be reached.
    """
    values = [value]
    with reaching([source]):
        dist.broadcast_object_list(values, source)
    return values[0]


@contextmanager
def reaching(stages: Sequence[int]) -> Iterator[None]:
    """Raise a clear error if other stages cannot be reached.

    Args:
        stages: The stages to communicate with; if it is only this one, all others.

    Raises:
        UserError: A stage has ended, or did not answer within the process group's timeout.
    """
    try:
        yield
    except RuntimeError as error:
        raise lost(stages) from error


def lost(stages: Sequence[int]) -> UserError:
    """Return the error for stages that cannot be reached."""
    here = dist.get_rank()
    others = [s for s in range(dist.get_world_size()) if s != here]
    named = [s for s in stages if s != here] or others
    listed = f"stage {named[0]}" if len(named) == 1 else f"one of the stages {named}"
    return UserError(
        f"stage {here} cannot reach {listed}: its process has ended, or did not answer in time; "
        "start all stages again from the last checkpoint (on the command line with --resume)"
    )


def _header(tensor: Tensor) -> Tensor:
    if tensor.dtype not in DTYPES or tensor.dim() > DIMENSIONS:
        raise UserError(
            f"stages cannot send a tensor of {tensor.dtype} with {tensor.dim()} dimensions: "
            f"blocks must return one of {', '.join(map(str, DTYPES))}, of at most {DIMENSIONS}"
        )
    sizes = [*tensor.shape, *[0] * (DIMENSIONS - tensor.dim())]
    told = [DTYPES.index(tensor.dtype), tensor.dim(), *sizes]
    return torch.tensor(told, dtype=torch.int64, device=tensor.device)
