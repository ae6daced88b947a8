"""The one place where tests look into what the library does not show."""

from beyondprop.engine import forms
from beyondprop.engine.settings import SETTINGS, settings

NODE_ABOVE, FUSED_UP_TO = SETTINGS.node_above, SETTINGS.fused_up_to

__all__ = ["FUSED_UP_TO", "NODE_ABOVE", "SETTINGS", "forms", "settings"]


def open_pass(handle):
    """Return the forward pass that is under way in this thread, or None."""
    return handle.passes.current.open_pass


def state(handle):
    """Return what an attachment keeps from pass to pass."""
    return handle.passes.state


def holders(handle):
    """Return what has a state, by name."""
    return handle.passes.state.stateful


def passes(handle):
    """Return how many taught passes in training mode there were."""
    return handle.passes.mode.number


def at_weight(layer, name="weight"):
    """Return where a rule of layers is asked for a weight."""
    return vars(layer)["_feedback"][name]


def feedback(layer, weight=None, name="weight"):
    """Return what replaces a layer's weight in the backward pass."""
    at = at_weight(layer, name)
    return at.rule.feedback((at.weight() if weight is None else weight).detach(), at)


def is_swapped(layer):
    """Return whether a layer has a backward of its own."""
    return "_feedback" in vars(layer)


def fused(model):
    """Return the fused form of a chain, or None."""
    return vars(model).get("_fused")


def ends_of(handle, run):
    """Return what the joint schedule makes signals of in a pass; None where a node makes one."""
    found = []
    leave = handle.passes.tie

    def watched(outputs, opened):
        found.extend(opened.joint.ends)
        return leave(outputs, opened)

    handle.passes.tie = watched
    try:
        run()
    finally:
        del handle.passes.tie
    return found


def entries(registry):
    """Return what a registry holds, to put something else in its place."""
    return registry._entries
