"""That a matrix too large for the machine is refused before it is drawn."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.projections import Dense, Hadamard, Signs, Sparse
from beyondprop.projections.cost import memory

X = torch.ones(1, 100)
ENTRIES = 100 * 50


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets how many bytes are free; all matrices are looked at."""
    monkeypatch.setattr(memory.ROOM, "unasked", 0)
    monkeypatch.setattr(memory.ROOM, "most", 0.5)
    return lambda count: monkeypatch.setattr(memory, "_free", lambda _: count)


@pytest.mark.parametrize(("kind", "entry"), [(Dense, 40), (Signs, 10), (Sparse, 80 / 3)])
def test_a_matrix_may_take_its_share_of_the_free_memory(kind, entry, free):
    free(int(2 * entry * ENTRIES) - 2)
    for use in (
        lambda: kind().project(X, 50, stream=0),
        lambda: kind().matrix(100, 50, 0, X),
    ):
        with pytest.raises(bp.UserError, match=f"a {kind.__name__} matrix from 100 to 50 numbers"):
            use()
    free(int(2 * entry * ENTRIES) + 2)
    kind().project(X, 50, stream=0)


def test_small_matrices_do_not_ask_and_unknown_memory_is_not_guessed(free, monkeypatch):
    free(None)
    Dense().project(X, 50, stream=0)
    free(0)
    monkeypatch.setattr(memory.ROOM, "unasked", 40 * ENTRIES)
    Dense().project(X, 50, stream=0)


def test_a_matrix_for_many_classes_is_refused_in_a_sentence():
    """It would have 1.3 TB, and more while it is drawn."""
    with pytest.raises(bp.UserError) as found:
        Dense(shared=True).project(torch.ones(1, 50257), 2**23, stream=0)
    told = str(found.value)
    assert "from 50,257 to 8,388,608 numbers takes 16.9 TB while it is drawn" in told
    assert "\n" not in told


def test_the_projection_that_is_advised_fits(free):
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 100))
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    free(40 * ENTRIES)
    with pytest.raises(bp.UserError, match=r"Hadamard\(shared=True\)"):
        model(X).sum().backward()
    handle.remove()
    bp.attach(model, bp.DirectFeedbackAlignment(projection=Hadamard(shared=True)))
    model(X).sum().backward()
