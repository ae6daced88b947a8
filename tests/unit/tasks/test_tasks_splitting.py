import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.errors import UserError
from beyondprop.tasks.splitting import hold_out


@given(
    sizes=st.lists(st.integers(3, 9), min_size=1, max_size=5),
    per_class=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_complete_and_even(sizes: list[int], per_class: int, seed: int) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    left, held = hold_out(labels, per_class, seed)
    assert sorted([*left.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert labels[held].bincount(minlength=len(sizes)).tolist() == [per_class] * len(sizes)


def test_every_sample_has_the_same_chance() -> None:
    labels = torch.tensor([0] * 10)
    drawn = torch.stack([hold_out(labels, 3, seed)[1] for seed in range(2000)])
    counts = drawn.flatten().bincount(minlength=10)
    assert ((counts - 600).abs() < 100).all()  # 4.9 standard deviations of a binomial(2000, 0.3)


def test_the_draw_never_changes() -> None:
    _, held = hold_out(torch.arange(1000) % 10, per_class=20, seed=7)
    digest = hashlib.sha256(held.numpy().astype("<i8").tobytes()).hexdigest()
    assert digest == "7e120316a600bcfd2d18b69cb5ae7dee85680ceacd9a9a0eadd4691d36dc4800"


def test_nothing_global_is_drawn_from() -> None:
    labels = torch.arange(100) % 5
    torch.manual_seed(1)
    first, state = hold_out(labels, 4, seed=0), torch.get_rng_state()
    torch.manual_seed(2)
    second = hold_out(labels, 4, seed=0)
    assert torch.equal(first[1], second[1])
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1], [0, 0, 0, 2, 2, 2]])
def test_a_class_that_would_vanish_is_refused(labels: list[int]) -> None:
    with pytest.raises(UserError, match="cannot hold out 2 samples of class 1: it has only"):
        hold_out(torch.tensor(labels), per_class=2, seed=0)
