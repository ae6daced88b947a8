"""Recorded messages in the wording of the library."""

from benchmarks.common.wording import current


def test_old_messages_get_the_current_words() -> None:
    old = "trained by steps: what learns from the last block on, conv2, is not one nn.Linear"
    new = "the part that learns from the last block on, conv2, is not a single `nn.Linear`"
    assert current(old) == f"trained by steps: {new}"
    assert current("or exact_gradients(model)") == "or bp.exact_gradients(model)"


def test_other_messages_stay() -> None:
    for message in ("use bp.exact_gradients(model)", "the last layer has no inputs"):
        assert current(message) == message
