"""What an attack is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

from torch import Tensor

from beyondprop.audit.logits import Logits
from beyondprop.errors import UserError, install


class Attack(ABC):
    """A search in the ball of the maximum norm.

    Attributes:
        name: As tables show it.
        packages: That it needs.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    def check_installed(self) -> None:
        """Refuse an attack whose packages are missing.

        Raises:
            UserError: Names the extra.
        """
        if missing := [each for each in self.packages if find_spec(each) is None]:
            raise UserError(f"{self.name} needs {', '.join(missing)}: {install('audit')}")

    @abstractmethod
    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return inputs nearby that fool a classifier, or the last ones tried.

        It draws from PyTorch's global generator, or from a seed drawn by it.

        Args:
            logits: Units to logits ``(n, classes)``.
            units: ``(n, ...)`` in [0, 1].
            targets: The right classes, ``(n,)`` int64.
            epsilon: How far a feature may be moved, above 0.
        """
