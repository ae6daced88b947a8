"""What is found of minima, in a sentence."""

from __future__ import annotations

from beyondprop.audit.base import Answer

NOTHING = 0.01
"""A step along the gradient that takes less than this share of the loss leaves it as it was."""


def verdict(found: Answer) -> str:
    """Return what is found of one model in a sentence."""
    ends, sharp = found["curvature"], found["sharpness"]
    rise = _shown(sharp["value"])
    return (
        f"Training ended at a loss of {found['train']['loss']:.3g} on training samples, "
        f"{_level(found['slope'])}; the largest curvature is {ends['largest'][0]:.3g}, the "
        f"smallest {ends['smallest']:.2g}, and where all weights move by {sharp['radius']:.0%} of "
        f"their length in a random direction the loss rises by {rise} (standard error "
        f"{_shown(sharp['error'])}){_choices(found.get('choices'))}."
    )


def _choices(found: Answer | None) -> str:
    """Return what is found of a slot machine's weights, if it is one."""
    if found is None:
        return ""
    return (
        f"; of {found['tried']} single weights given another of their fixed values "
        f"{found['lower']:.0%} lower the loss"
    )


def _level(slope: Answer) -> str:
    """Return whether the loss is level where training ended."""
    gain = slope["gain"]
    if gain is None:
        return "which is no minimum: it bends downward along the exact gradient"
    taken = f"one step along the exact gradient takes {max(gain, 0):.1%} of it"
    return f"where it is level: {taken}" if gain < NOTHING else f"where it is not level: {taken}"


def verdict_beside(found: Answer, one: str, other: str) -> str:
    """Return what is found of two models in a sentence."""
    sentence = (
        f"On the straight line between the weights of {one} and {other} the loss rises by "
        f"{_shown(found['plain']['barrier'])} above that of both ends, and {found['metric']} falls "
        f"by {_shown(found['plain']['drop'])}"
    )
    if found["matched"] is None:
        return f"{sentence}; {found['unmatched']}."
    return (
        f"{sentence}; with the units of the second matched to the first's, by "
        f"{_shown(found['matched']['barrier'])} and {_shown(found['matched']['drop'])}."
    )


def _shown(value: float | None) -> str:
    return "more than numbers hold" if value is None else f"{value:.2g}"
