"""The structured map: the right transform, rotations, and how close to Gaussian it comes."""

import pytest
import torch
from tests.reference import projections as reference

from beyondprop.projections import Hadamard, chunks
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


@pytest.mark.parametrize("count", [1, 4, 5, 8, 9])
def test_parts_do_not_change_it_nor_its_gradients(count, monkeypatch):
    x, made = torch.randn(count, 60, dtype=torch.float64, requires_grad=True), Hadamard(1)
    whole = made.project(x, 40, 0)
    (back,) = torch.autograd.grad(whole.square().sum(), x)
    monkeypatch.setattr(chunks, "CACHE", 4 * 4 * 64)  # four rows
    found = made.project(x, 40, 0)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close((found, gradient), (whole, back))
    torch.testing.assert_close(made.project(x.detach(), 40, 0), whole.detach())
    with torch.no_grad():
        torch.testing.assert_close(made.project(x, 40, 0), whole.detach())


def test_without_gradients_parts_are_not_held_until_the_end(monkeypatch):
    monkeypatch.setattr(chunks, "CACHE", 4 * 4 * 64)
    monkeypatch.setattr(torch, "cat", None)
    rows = torch.randn(9, 64)
    assert torch.equal(chunks.in_chunks(lambda part: part * 2, rows, 64), rows * 2)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # by PyTorch itself
@pytest.mark.parametrize("way", ["vmap", "jvp", "grad"])
def test_parts_under_function_transforms(way, monkeypatch):
    x, made = torch.randn(3, 9, 60, dtype=torch.float64), Hadamard(1)
    matrix = made.matrix(60, 40, 0, x)
    monkeypatch.setattr(chunks, "CACHE", 4 * 4 * 64)

    def carry(x):
        return made.project(x, 40, 0)

    if way == "vmap":
        found, expected = torch.func.vmap(carry)(x), x @ matrix
    elif way == "jvp":
        found, expected = torch.func.jvp(carry, (x,), (x + 1,))[1], (x + 1) @ matrix
    else:
        found = torch.func.grad(lambda x: carry(x).sum())(x)
        expected = matrix.sum(1).expand_as(x)
    torch.testing.assert_close(found, expected)
