"""How packed files name the kinds of weights."""

import json

import pytest
import torch

from beyondprop import UserError
from beyondprop.slots import (
    KaimingSigns,
    KaimingUniform,
    MulticoatedSupermask,
    PerLayer,
    PerNetwork,
    Reels,
    Sampled,
    WideGlorotUniform,
)
from tests.unit.slots.internals import kind_from
from tests.unit.slots.networks import MASKS


@pytest.mark.parametrize(
    "kind",
    [
        Reels(),
        Reels(5, Sampled(), KaimingSigns(), PerNetwork(), 3.0, 4.0),
        Reels(4, values=WideGlorotUniform(), linear_scores=1.0),
        Reels(2**16, values=KaimingUniform(), sharing=PerLayer()),
        *MASKS,
    ],
)
def test_a_kind_from_its_settings(kind):
    """Read again from JSON: the same options; how scores choose is not told."""
    read = kind_from(json.loads(json.dumps(kind.settings())))
    assert type(read) is type(kind)
    assert read.settings() == kind.settings()
    assert (read.planes, read.count) == (kind.planes, kind.count)
    assert (read.values, read.sharing) == (kind.values, kind.sharing)
    values = torch.randn(kind.planes, 3)
    assert torch.equal(read.options(values), kind.options(values))


GOOD = {"kind": "reels", "values": "glorot-uniform", "sharing": "connection", "slots": 8}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "described by names and values, not by None"),
        ([], "described by names and values"),
        ("reels", "described by names and values"),
        ({}, "'kind' of the weights must be one of reels, supermask"),
        (GOOD | {"kind": "reel"}, "'kind' of the weights must be one of"),
        (GOOD | {"kind": ["reels"]}, "'kind' of the weights must be one of"),
        (GOOD | {"values": "normal"}, "'values' of the weights must be one of glorot-uniform"),
        (GOOD | {"values": None}, "'values' of the weights must be one of"),
        (GOOD | {"sharing": {}}, "'sharing' of the weights must be one of connection"),
        (GOOD | {"slots": "8"}, "slots must be a whole number"),
        (GOOD | {"slots": 1e9}, "slots must be a whole number"),
        (GOOD | {"slots": 2**40}, "slots must be a whole number"),
        (GOOD | {"more": 1}, "the settings of 'reels' must be kind, sharing, slots, values, not"),
        (GOOD | {3: 1}, "the settings of 'reels' must be"),
        ({k: v for k, v in GOOD.items() if k != "slots"}, "the settings of 'reels' must be"),
        ({k: v for k, v in GOOD.items() if k != "values"}, "the settings of 'reels' must be"),
        (GOOD | {"kind": "supermask"}, "the settings of 'supermask' must be"),
        (MulticoatedSupermask().settings() | {"keeps": 3}, "keeps must be"),
        (MulticoatedSupermask().settings() | {"keeps": [[0.5]]}, "keeps must be"),
        (MulticoatedSupermask().settings() | {"keeps": [0.1, 0.2]}, "keeps must be"),
    ],
)
def test_settings_of_no_kind(settings, message):
    with pytest.raises(UserError, match=message) as error:
        kind_from(settings)
    assert "\n" not in str(error.value)
