"""A training that led nowhere took something all the same."""

from __future__ import annotations

from beyondprop.errors import UserError


class DivergedError(UserError):
    """A loss of a training is no number any more.

    Attributes:
        operations: Floating-point operations of the steps that there were.
    """

    def __init__(self, message: str, operations: float) -> None:
        super().__init__(message)
        self.operations = operations

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, float]]:
        return DivergedError, (str(self), self.operations)  # workers send it back
