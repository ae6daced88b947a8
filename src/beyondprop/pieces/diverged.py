"""The error of a diverged training, with the operations that it used."""

from __future__ import annotations

from beyondprop.errors import UserError


class DivergedError(UserError):
    """A training loss is no longer a number.

    Attributes:
        operations: Floating-point operations of the steps before the training stopped.
    """

    def __init__(self, message: str, operations: float) -> None:
        super().__init__(message)
        self.operations = operations

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, float]]:
        return DivergedError, (str(self), self.operations)  # so that workers can send it back
