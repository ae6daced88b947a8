"""Objects that are named by a short name or by module:attribute, with arguments."""

from beyondprop.lazy import listing
from beyondprop.registry.arguments import check_fields, checked
from beyondprop.registry.registry import Registry, first_line
from beyondprop.registry.settings import settings
from beyondprop.registry.spec import Named, Spec, file_name, label, read

__all__ = [
    "Named",
    "Registry",
    "Spec",
    "check_fields",
    "checked",
    "file_name",
    "first_line",
    "label",
    "read",
    "settings",
]
__dir__ = listing(__all__)
