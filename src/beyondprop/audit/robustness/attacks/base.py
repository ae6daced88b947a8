"""The interface of an attack."""

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
        name: Name as tables show it.
        packages: Packages that it requires.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    def check_installed(self) -> None:
        """Raise if a package that the attack requires is missing.

        Raises:
            UserError: Packages are missing; the message names the extra.
        """
        if missing := [each for each in self.packages if find_spec(each) is None]:
            raise UserError(f"{self.name} needs {', '.join(missing)}: {install('audit')}")

    @abstractmethod
    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return nearby inputs that fool a classifier, or the last ones tried.

        The attack draws from PyTorch's global generator, or from a seed drawn from it.

        Args:
            logits: Maps units to logits ``(n, classes)``.
            units: ``(n, ...)`` in [0, 1].
            targets: The true classes, ``(n,)`` int64.
            epsilon: Maximum change of a feature, above 0.
        """
