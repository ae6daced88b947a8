"""The members of a family that a scaling study trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields, read

SIZE_NAMES = {"width": "widths", "depth": "depths", "samples": "samples"}
"""Arguments of a family, with their plurals."""


@dataclass(frozen=True)
class Sizes:
    """The members of the family to train: every combination of these sizes.

    Attributes:
        widths: Widths of the networks. Default: the family's.
        depths: Numbers of hidden layers. Default: the family's.
        samples: Numbers of training samples. Default: the family's, which is all.

    Raises:
        UserError: A number occurs twice or is below 1.
    """

    widths: tuple[int, ...] | None = None
    depths: tuple[int, ...] | None = None
    samples: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name, values in asdict(self).items():
            if values is not None and (
                len(set(values)) < len(values) or min(values, default=0) < 1
            ):
                raise UserError(
                    f"{name} must be different whole numbers of at least 1, not {values}"
                )

    def members(self, family: Spec) -> list[dict[str, Any]]:
        """Return the specs of the tasks, the smallest first."""
        name, given = read(family, "task", "task")
        own = dict(zip(SIZE_NAMES, (self.widths, self.depths, self.samples), strict=True))
        named = {key: sorted(values) for key, values in own.items() if values}
        return [
            {"task": name, **given, **dict(zip(named, values, strict=True))}
            for values in product(*named.values())
        ]
