"""Kinds of weights by what a packed file says of them."""

from typing import Any

from beyondprop.errors import UserError
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.masks import MulticoatedSupermask, SignedSupermask, Supermask
from beyondprop.slots.values import SHARINGS, VALUES

KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    Reels.name: (Reels, ("slots",)),
    Supermask.name: (Supermask, ()),
    MulticoatedSupermask.name: (MulticoatedSupermask, ("keeps",)),
    SignedSupermask.name: (SignedSupermask, ()),
}
"""Every kind by its name in packed files, with the settings that only it has."""


def kind_from(settings: Any) -> Kind:
    """Return the kind whose `Kind.settings` these are, with the same options for each weight.

    How scores begin and choose is not in them, and is as in a kind newly made.

    Args:
        settings: What was read of a packed file, of any type.

    Raises:
        UserError: They are not the settings of a kind that is known here.
    """
    if not isinstance(settings, dict):
        raise UserError(
            f"the kind of the weights must be described by names and values, not by {settings!r}"
        )
    make, own = _named(KINDS, settings, "kind")
    expected = {"kind", "values", "sharing", *own}
    if settings.keys() != expected:
        raise UserError(
            f"the settings of '{settings['kind']}' must be {', '.join(sorted(expected))}, not "
            f"{', '.join(sorted(map(str, settings)))}: the file is damaged or was made by another "
            "version"
        )
    values = _named(VALUES, settings, "values")()
    sharing = _named(SHARINGS, settings, "sharing")()
    kind: Kind = make(values=values, sharing=sharing, **{key: settings[key] for key in own})
    return kind


def _named(known: dict[str, Any], settings: dict[Any, Any], key: str) -> Any:
    name = settings.get(key)
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"'{key}' of the weights must be one of {', '.join(known)}, not {name!r}: the file is "
            "damaged or was made by another version"
        )
    return known[name]
