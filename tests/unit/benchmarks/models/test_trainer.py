"""What docs/models.md says of the trainer's record is what the record shows."""

import pytest

from benchmarks.common.records import load
from beyondprop.experiment.statistics import paired

ROWS = {(row["way"], row["head"]): row for row in load("models/trainer")["rows"]}
HEADS = ["tied", "untied"]
DIRECT = ["dfa", "dfa from the logits", "drtp"]


def beyond(first, second):
    """Return the interval of how much larger one's loss is than the other's."""
    found = paired(ROWS[first]["test"], ROWS[second]["test"])
    assert found is not None
    return found


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("way", DIRECT)
def test_direct_feedback_ends_behind_frozen_and_the_linear_model(way, head):
    assert beyond((way, head), ("frozen", head)).low > 0
    assert beyond((way, head), ("linear", "")).low > 0


@pytest.mark.parametrize("head", HEADS)
def test_local_losses_are_not_told_from_backprop(head):
    found = beyond(("dgl", head), ("backprop", head))
    assert found.low < 0 < found.high


@pytest.mark.parametrize("head", HEADS)
def test_alignment_does_not_tell_local_losses_from_direct_feedback(head):
    found = paired(ROWS["dgl", head]["alignment"], ROWS["dfa", head]["alignment"])
    assert found is not None
    assert found.low < 0 < found.high


def test_no_rate_is_at_an_edge():
    assert not any(row["edge"] for row in ROWS.values() if row["head"])
