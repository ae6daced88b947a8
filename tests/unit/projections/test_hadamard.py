"""The structured map: the right transform, rotations, and how close to Gaussian it comes."""

import pytest
import torch
from tests.reference import projections as reference

import beyondprop as bp
from beyondprop.projections import Hadamard
from beyondprop.projections.hadamard import transform


@pytest.mark.parametrize("bits", range(12))
def test_the_transform_is_the_product_with_sylvesters_matrix(bits):
    matrix = torch.from_numpy(reference.sylvester(2**bits))
    x = torch.randn(2, 3, 2**bits, dtype=torch.float64)
    torch.testing.assert_close(transform(x), x @ matrix)
    torch.testing.assert_close(transform(transform(x)), x * 2**bits)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_between_equal_powers_of_two_it_is_a_rotation(rounds):
    matrix = Hadamard(1, rounds=rounds).matrix(256, 256, 0, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.t(), torch.eye(256, dtype=torch.float64))


def test_a_few_outputs_are_different_ones_of_the_rotation():
    matrix = Hadamard(1).matrix(256, 100, 0, torch.zeros(1, dtype=torch.float64))
    expected = torch.eye(100, dtype=torch.float64) * 2.56
    torch.testing.assert_close(matrix.t() @ matrix, expected)


@pytest.mark.parametrize("rounds", [2, 3])
@pytest.mark.parametrize("kind", ["one-hot", "constant", "two", "alternating"])
def test_regular_inputs_keep_their_norm_over_streams(kind, rounds):
    """The spread over 300 maps, 1024 → 64; that of Gaussian maps is sqrt(2 / 64) = 0.177."""
    x = torch.zeros(1024)
    if kind == "one-hot":
        x[77] = 1
    elif kind == "two":
        x[[77, 513]] = 1
    else:
        x += 1 if kind == "constant" else torch.arange(1024) % 2
    made = Hadamard(1, rounds=rounds)
    norms = [made.project(x / x.norm(), 64, stream).square().sum() for stream in range(300)]
    ratio = torch.stack(norms)
    assert abs(ratio.mean() - 1) < 0.05
    assert ratio.std() < 0.21


def test_a_second_round_makes_the_entries_gaussian():
    """The kurtosis of the entries: 1 after one round, 3 for a Gaussian.

    After two there are only as many magnitudes as inputs, 2048: standard deviation 0.11.
    """
    like = torch.zeros(1, dtype=torch.float64)
    entries = [Hadamard(1, rounds=r).matrix(2048, 2048, 0, like).flatten() for r in (1, 2, 3)]
    once, twice, thrice = [(e**4).mean() / (e**2).mean() ** 2 for e in entries]
    torch.testing.assert_close(once.item(), 1.0)
    assert abs(twice - 3) < 0.4
    assert abs(thrice - 3) < 0.1


def test_what_is_kept_are_vectors():
    made = Hadamard(1)
    made.project(torch.randn(3, 700), 900, 0)
    assert [flips.shape for flips in made._drawn.values()] == [(2, 1024)]


def test_no_round_is_refused():
    with pytest.raises(bp.UserError, match="rounds=2 or 3"):
        Hadamard(rounds=0)
