"""The projection that chooses by sizes: what it chooses, and that it says so."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.projections import BySize, Dense, Hadamard

X = torch.linspace(-1, 1, 3 * 40).view(3, 40).sin()


@pytest.mark.parametrize(
    ("widths", "kind"),
    [
        ((10, 1024), Dense),
        ((50257, 256), Dense),  # a product with it is as quick
        ((4096, 4096), Dense),  # no more than 2^24 entries
        ((4097, 4096), Hadamard),
        ((50257, 768), Hadamard),
        ((1000, 65536), Hadamard),
        ((2**20, 64), Dense),  # a transform of so wide a signal takes longer
        ((2**23, 64), Hadamard),  # but a matrix would take 2 GiB
    ],
)
def test_sizes_alone_choose(widths, kind):
    assert type(BySize().chosen(*widths)) is kind
    assert type(BySize().chosen(*widths[::-1])) is kind


@pytest.mark.parametrize("shared", [False, True])
def test_it_is_the_one_chosen_to_the_bit(shared):
    small, large = BySize(4, shared), BySize(4, shared, above=1)
    assert large.stream(7) == Dense(4, shared).stream(7)
    assert torch.equal(small.project(X, 300, 2), Dense(4, shared).project(X, 300, 2))
    wide = X.repeat(1, 25)  # 1,000 × 1,024
    expected = Hadamard(4, shared)
    assert torch.equal(large.project(wide, 1024, 2), expected.project(wide, 1024, 2))
    assert torch.equal(large.matrix(1000, 1024, 2, X), expected.matrix(1000, 1024, 2, X))


def test_what_is_kept_is_the_matrix_or_the_signs_of_one_map():
    found = BySize(above=1)
    found.project(X, 30, 0)
    found.project(X.repeat(1, 25), 1024, 0)
    found.project(X.repeat(1, 25), 1000, 0)
    assert [len(key) for key in found._drawn] == [5, 0, 2, 2]
    assert len(found._drawn[()]._drawn) == 1


@pytest.mark.parametrize("rule", ["dfa", "drtp"])
def test_direct_rules_choose_by_size(rule):
    made = bp.rules.make(rule)
    assert made.projection == BySize(shared=True)
    assert made.settings()["projection"] == {
        "name": "by-size", "seed": 0, "shared": True, "above": 2**24
    }  # fmt: skip


def test_the_report_says_what_was_chosen_once_it_is_known():
    rule = bp.DirectFeedbackAlignment(BySize(above=1))
    model = nn.Sequential(nn.Linear(40, 1024), nn.Tanh(), nn.Linear(1024, 1000))
    handle = bp.attach(model, rule)
    assert "Hadamard" not in str(handle.report)
    model(X).square().sum().backward()
    said = "feedback from 1,000 to 1,024 numbers uses Hadamard, as a matrix of 1,024,000 entries"
    assert said in str(handle.report)
    small = nn.Sequential(nn.Linear(40, 8), nn.Tanh(), nn.Linear(8, 5))
    handle = bp.attach(small, bp.DirectFeedbackAlignment())
    small(X).square().sum().backward()
    assert "Hadamard" not in str(handle.report)
