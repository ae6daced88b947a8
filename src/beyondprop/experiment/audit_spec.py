"""What to ask of trained models, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields


@dataclass(frozen=True)
class AuditSpec:
    """An audit: which sections, and how.

    Attributes:
        sections: By name or with arguments; see `beyondprop list`. Default: all.
        data: Folder that holds the data set's files. Default: the standard places.
        threads: CPU threads of each section.

    Raises:
        UserError: A field makes no sense.
    """

    sections: tuple[Spec, ...] | None = None
    data: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sections is not None and not self.sections:
            raise UserError("sections must name one at least")
        if self.threads < 1:
            raise UserError("threads must be above 0")
