"""What tests read of a converted model beyond the public interface, in one place."""

from beyondprop import slots
from beyondprop.slots.accumulator import Accumulator
from beyondprop.slots.contents import pack_bits, unpack_bits
from beyondprop.slots.packed_file import digest
from beyondprop.slots.packed_header import kind_from
from beyondprop.slots.scores import FullScores

__all__ = ["Accumulator", "FullScores", "digest", "kind_from", "pack_bits", "unpack_bits"]


def reels(model):
    """Return a model's converted weights."""
    return slots.machine_of(model).reels


def scores_of(model):
    """Return what moves in place of each weight: K scores, or one number."""
    return [reel.scores for reel in reels(model)]


def moved(model):
    """Return the tensors that an optimizer moves, one for each converted weight."""
    return [scores.tensor for scores in scores_of(model)]


def weights(model):
    """Return copies of the chosen weights."""
    return [reel.parameter.detach().clone() for reel in reels(model)]


def fixed(reel):
    """Return the fixed values and the initial scores of a weight, each (planes, *shape)."""
    like = reel.parameter.detach()
    return reel.source.all_values(like), reel.source.all_scores(like)


def arrays(model):
    """Return the fixed values and the initial scores of each weight, as two lists of arrays."""
    pairs = [[tensor.numpy().copy() for tensor in fixed(reel)] for reel in reels(model)]
    return [list(column) for column in zip(*pairs, strict=True)]


def on_values(model):
    """Return whether every weight is among its fixed values; raise a `UserError` where not."""
    for reel in reels(model):
        reel.option()
    return True
