"""What an attachment carries from one forward pass to the next: learned feedback, and a count."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from beyondprop._torch.eager import eager
from beyondprop.engine.fixed import MOMENTS, Fixed
from beyondprop.errors import UserError

if TYPE_CHECKING:
    from beyondprop.engine.blocks import Block

PASSES = "passes"


class Holder(Protocol):
    """A layer or a block that has feedback of its own: `ops.Feedback` or `teach.Cut`."""

    state: dict[str, Tensor]

    def owners(self) -> Sequence[Tensor]:
        """Return the parameters that learn beside the feedback."""


class Memory:
    """The state of an attachment beside the model's own.

    Attributes:
        passes: How many forward passes in training mode were taught.
        holders: Those that have a state or change with each pass, by name.
        alone: For each rule that cannot be taught on several processes, the reason.
        fixed: The projections, which a state names by their seeds.
        together: Whether something keeps the processes from drifting apart all the same: they
            average all gradients (`DataParallel`), or each has blocks of its own (`Pipeline`).
    """

    def __init__(self, blocks: Sequence["Block"] = ()) -> None:
        self.passes = 0
        self.fixed = Fixed(blocks)
        self.holders: dict[str, Holder] = {}
        self.alone: dict[str, str] = {}
        self.together = False
        self._watches: dict[str, Watch] = {}

    @property
    def needed(self) -> bool:
        """Whether anything is to be done at the beginning of a pass."""
        return bool(self.holders or self.alone)

    # Compiled, the count would be a constant, and a new graph made for every pass.
    @eager
    def begin(self, training: bool) -> None:
        """Begin a forward pass that is to be taught.

        Raises:
            UserError: Learned feedback does not learn, learns on one of several processes, or was
            left behind on another device.
        """
        if self.alone and not self.together and processes() > 1:
            rule, reason = next(iter(self.alone.items()))
            raise UserError(f"{rule} does not teach on several processes: {reason}")
        for name, holder in self.holders.items():
            _check_place(name, holder)
            self._watches.setdefault(name, Watch()).check(name, holder)
        self.passes += training

    def parameters(self) -> list[nn.Parameter]:
        """Return the learned feedback that an optimizer must hold."""
        return [
            tensor
            for holder in self.holders.values()
            for tensor in holder.state.values()
            if isinstance(tensor, nn.Parameter)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all of it as tensors, and the seeds of what is fixed."""
        found = {
            f"{name}.{key}": tensor.detach()
            for name, holder in self.holders.items()
            for key, tensor in holder.state.items()
            if not is_lazy(tensor)
        }
        counted = {PASSES: torch.tensor(self.passes), **found} if self.needed else {}
        return counted | self.fixed.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            UserError: It belongs to another attachment, or was saved with other fixed feedback.
        """
        self.fixed.check(state)
        here = {f"{n}.{key}": t for n, h in self.holders.items() for key, t in h.state.items()}
        names = {*self.fixed.state_dict(), *((PASSES, *here) if self.needed else ())}
        unmade = {name for name, tensor in here.items() if is_lazy(tensor)} | {MOMENTS}
        if not names - unmade <= set(state) <= names | {MOMENTS}:
            raise UserError(
                "this state was saved by another attachment: it holds "
                f"{sorted(state)}, and here are {sorted(names)}; attach the same rules to the same "
                "model first"
            )
        for name, own in here.items():
            if name in state:
                _check_fits(own, state[name], name)
        self.fixed.resume(state)
        self.passes = int(state.get(PASSES, torch.tensor(0)))
        for name, holder in self.holders.items():
            for key, own in holder.state.items():
                if f"{name}.{key}" in state:
                    holder.state[key] = _taken_over(own, state[f"{name}.{key}"])

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put everything back afterwards; inside, tensors are replaced, never written to."""
        before = self.passes, [(h, dict(h.state)) for h in self.holders.values()]
        moments = self.fixed.moments()
        # Inside, weights may be changed for a while: that tells nothing about an optimizer.
        watches, self._watches = self._watches, {}
        try:
            yield
        finally:
            self._watches = watches
            self.passes = before[0]
            for projection, moment in moments:
                projection.resume(moment)
            for holder, state in before[1]:
                holder.state.clear()
                holder.state.update(state)


def processes() -> int:
    """Return how many processes learn together."""
    distributed: Any = torch.distributed
    on = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if on else 1


def _check_fits(own: Tensor, saved: Tensor, name: str) -> None:
    if not is_lazy(own) and own.numel() and own.shape != saved.shape:
        raise UserError(
            f"'{name}' was saved with shape {tuple(saved.shape)}, here it has {tuple(own.shape)}"
        )


def _taken_over(own: Tensor, saved: Tensor) -> Tensor:
    if isinstance(own, UninitializedParameter):
        own.materialize(saved.shape)
    if isinstance(own, nn.Parameter):  # an optimizer holds this very tensor
        with torch.no_grad():
            own.copy_(saved)
        return own
    return saved.to(own.device, own.dtype, copy=True)


def _check_place(name: str, holder: Holder) -> None:
    """See that the feedback is where its layer is."""
    owner = next(iter(holder.owners()), None)
    for tensor in holder.state.values():
        kept = tensor.is_floating_point() and not is_lazy(tensor) and tensor.numel()
        if owner is not None and kept and tensor.device != owner.device:
            raise UserError(
                f"the feedback of '{name}' is on {tensor.device}, its layer on {owner.device}: "
                "move the model before rules are attached, so remove() them and attach again"
            )


class Watch:
    """Sees that feedback that learns is moved and cleared by an optimizer, as its weights are."""

    def __init__(self) -> None:
        self._moves = False
        self._before: tuple[Tensor, list[Tensor]] | None = None

    def check(self, name: str, holder: Holder) -> None:
        """Look at the feedback at the beginning of a pass.

        Raises:
            UserError: The weights move and are cleared, the feedback is not.
        """
        learned = [t for t in holder.state.values() if isinstance(t, nn.Parameter)]
        if not learned or is_lazy(learned[0]) or learned[0].grad is None:
            return
        owners = holder.owners()
        if owners and all(owner.grad is None for owner in owners):
            raise _orphaned(name)
        if self._moves:
            return
        now = _probe(learned[0]), [_probe(owner) for owner in owners]
        if self._before is not None:
            self._moves = not torch.equal(now[0], self._before[0])
            pairs = zip(now[1], self._before[1], strict=True)
            if not self._moves and any(not torch.equal(a, b) for a, b in pairs):
                raise _orphaned(name)
        self._before = now


def _probe(tensor: Tensor) -> Tensor:
    """Return some of a tensor's numbers: enough to see that it has moved."""
    return tensor.detach().flatten()[:64].clone()


def _orphaned(name: str) -> UserError:
    return UserError(
        f"the feedback of '{name}' learns too, but no optimizer clears its gradient and moves it: "
        "build the optimizer over [*model.parameters(), *handle.parameters()] and call its "
        "zero_grad()"
    )
