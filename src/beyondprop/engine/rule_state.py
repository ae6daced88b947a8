"""The state that a rule returns for a block, and its check."""

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from beyondprop.core import Rule, State
from beyondprop.errors import UserError, shown


class FixedState(dict[str, Tensor]):
    """A rule's state for one block, to which no tensor can be added after `start`.

    Checkpoints, copies and measures hold the tensors that `start` returns; they would miss one that
    is added later.
    """

    def __init__(self, tensors: Mapping[str, Tensor], rule: str) -> None:
        super().__init__(tensors)
        self.rule, self.names = rule, frozenset(tensors)

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        if name not in self.names:
            raise UserError(
                f"{self.rule} adds {shown(name)} to its state after start: return this tensor "
                "from start, so that checkpoints, copies and measures include it"
            )
        super().__setitem__(name, tensor)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a tensor of the state."""
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *others: Any, **tensors: Tensor) -> None:
        """Replace tensors of the state."""
        for name, tensor in dict(*others, **tensors).items():
            self[name] = tensor

    def __ior__(self, others: Any) -> Self:  # type: ignore[misc, override]
        self.update(others)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FixedState, (dict(self), self.rule)


def state_of(rule: Rule, found: object) -> State:
    """Return the initial state of a rule.

    Raises:
        UserError: It is not a dict of tensors by name.
    """
    name = type(rule).__name__
    if isinstance(found, dict) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in found.items()
    ):
        return FixedState(found, name)
    raise UserError(
        f"start of {name} must return a dict of tensors by name, such as "
        f'{{"mean": torch.zeros(3)}}, not {shown(found)}'
    )
