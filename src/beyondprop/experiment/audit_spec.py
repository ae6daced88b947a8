"""Settings of an audit of trained models, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields


@dataclass(frozen=True)
class AuditSpec:
    """An audit: which sections to run, and how.

    Attributes:
        sections: Sections to run, by name or with arguments (see `beyondprop list`). Default: all.
        data: Folder that contains the data set. Default: the standard locations.
        threads: CPU threads for each section.

    Raises:
        UserError: A field is invalid.
    """

    sections: tuple[Spec, ...] | None = None
    data: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sections is not None and not self.sections:
            raise UserError("sections must name at least one")
        if self.threads < 1:
            raise UserError("threads must be above 0")
