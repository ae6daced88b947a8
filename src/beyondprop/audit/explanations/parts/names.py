"""Names of classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from beyondprop.audit.base import Audited


def class_names(audited: Audited, *classes: Tensor) -> Sequence[str]:
    """Return the names of the classes, or their numbers if the data have no names."""
    if audited.data.classes:
        return audited.data.classes
    return [str(i) for i in range(max(int(each.max()) for each in classes) + 1)]
