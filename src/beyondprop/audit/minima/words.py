"""The figures of minima in a sentence."""

from __future__ import annotations

from beyondprop.audit.base import Answer

NOTHING = 0.01
"""If a step along the gradient lowers the loss by less than this share, the loss is flat."""


def verdict(found: Answer) -> str:
    """Return a sentence on one model."""
    ends, sharp = found["curvature"], found["sharpness"]
    rise = _shown(sharp["value"])
    return (
        f"Training ended at a loss of {found['train']['loss']:.3g} on training samples, "
        f"{_level(found['slope'])}. The largest curvature is {ends['largest'][0]:.3g}, the "
        f"smallest {ends['smallest']:.2g}. When all weights move by {sharp['radius']:.0%} of "
        f"their norm in a random direction, the loss rises by {rise} (standard error "
        f"{_shown(sharp['error'])}){_choices(found.get('choices'))}."
    )


def _choices(found: Answer | None) -> str:
    """Return the result for a slot machine's weights, if the model is one."""
    if found is None:
        return ""
    return (
        f". Of {found['tried']} single weights set to another of their fixed values, "
        f"{found['lower']:.0%} lower the loss"
    )


def _level(slope: Answer) -> str:
    """Return whether training ended where the loss is flat."""
    gain = slope["gain"]
    if gain is None:
        return "which is not a minimum: the curvature along the exact gradient is negative"
    taken = f"one step along the exact gradient lowers it by {max(gain, 0):.1%}"
    return f"where it is flat: {taken}" if gain < NOTHING else f"where it is not flat: {taken}"


def verdict_beside(found: Answer, one: str, other: str) -> str:
    """Return a sentence on two models."""
    sentence = (
        f"On the straight line between the weights of {one} and {other}, the loss rises by "
        f"{_shown(found['plain']['barrier'])} above both ends, and {found['metric']} falls "
        f"by {_shown(found['plain']['drop'])}"
    )
    if found["matched"] is None:
        return f"{sentence}. Not matched: {found['unmatched']}."
    return (
        f"{sentence}; with the second's units matched to the first's, by "
        f"{_shown(found['matched']['barrier'])} and {_shown(found['matched']['drop'])}."
    )


def _shown(value: float | None) -> str:
    return "more than a number can hold" if value is None else f"{value:.2g}"
