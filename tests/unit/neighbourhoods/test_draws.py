"""Ways to draw inputs: their moments, their forms, and what they need of known samples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.models.resnet import resnet20
from beyondprop.neighbourhoods import DRAWS, Draw, Gaussian, Matched, Mixtures, Uniform
from beyondprop.neighbourhoods.draws import Known
from beyondprop.shapes import CHANNELS, FEATURES, TOKENS, Axes, taken_by

COUNT = 4000


def known(*shape: int, axes: Axes = TOKENS, dtype: torch.dtype = torch.float32) -> Known:
    """Return samples whose channels have means and deviations of their own."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator)
    scales = torch.arange(1, x.numel() // len(x) + 1).view(1, *shape[1:])
    return Known((x * scales / 3 + scales).to(dtype), axes)


def drawn(draw: Draw, *inputs: Known, count: int = COUNT, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(inputs[0].samples), (count,), generator=generator)
    return draw.draw(inputs, rows, generator)


def slow_moments(x: Tensor, channel: int | None) -> tuple[dict[Any, float], dict[Any, float]]:
    """Return mean and standard deviation of each channel, number by number."""
    found: dict[Any, list[float]] = {}
    for place in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        key = tuple(place[1:]) if channel is None else place[channel]
        found.setdefault(key, []).append(x[tuple(place)].item())
    means = {key: sum(values) / len(values) for key, values in found.items()}
    deviations = {
        key: math.sqrt(sum((v - means[key]) ** 2 for v in values) / (len(values) - 1))
        for key, values in found.items()
    }
    return means, deviations


@pytest.mark.parametrize(
    ("shape", "axes", "channel"),
    [
        ((5, 3, 2, 4), CHANNELS, 1),
        ((5, 3, 4), CHANNELS, 1),
        ((5, 3, 4), TOKENS, 2),
        ((5, 2, 3, 4), TOKENS, 3),  # maps with features last
        ((5, 3), TOKENS, 1),
        ((5, 3), CHANNELS, 1),
        ((5, 2, 3), FEATURES, None),  # in front of nn.Flatten
    ],
)
def test_moments_are_those_of_each_channel(
    shape: tuple[int, ...], axes: Axes, channel: int | None
) -> None:
    each = known(*shape, axes=axes, dtype=torch.float64)
    expected = slow_moments(each.samples, channel)
    for found, wanted in zip(each.moments, expected, strict=True):
        assert found.dim() == len(shape)
        values = found.expand(1, *shape[1:])[0]
        for place in torch.cartesian_prod(*map(torch.arange, shape[1:])).view(-1, len(shape) - 1):
            key = tuple(place.tolist()) if channel is None else place[channel - 1].item()
            assert values[tuple(place)].item() == pytest.approx(wanted[key])


def test_one_number_a_sample_has_moments_too() -> None:
    mean, deviation = Known(torch.tensor([1.0, 3.0]), TOKENS).moments
    assert (mean.item(), deviation.item()) == pytest.approx((2, math.sqrt(2)))


def test_matched_noise_has_the_moments_of_the_known_samples() -> None:
    each = known(6, 3, 2, 2, axes=CHANNELS)
    (x,) = drawn(Matched(), each)
    mean, deviation = each.moments
    again = Known(x, CHANNELS).moments
    error = 5 * deviation / math.sqrt(4 * COUNT)
    assert ((again[0] - mean).abs() < error).all()
    torch.testing.assert_close(again[1], deviation, rtol=0.05, atol=0)


@pytest.mark.parametrize("draw", [Gaussian(2.0, 0.5), Uniform(1.0, 4.0)])
def test_noise_has_the_moments_that_it_names(draw: Any) -> None:
    x, y = drawn(draw, known(2, 3), known(2, 4, 5))
    assert (x.shape, y.shape) == ((COUNT, 3), (COUNT, 4, 5))
    if isinstance(draw, Gaussian):
        mean, deviation = draw.mean, draw.std
    else:
        mean, deviation = (draw.low + draw.high) / 2, (draw.high - draw.low) / math.sqrt(12)
        assert draw.low <= y.min() < draw.low + 0.01
        assert draw.high - 0.01 < y.max() <= draw.high
    for each in (x, y):
        assert each.mean().item() == pytest.approx(mean, abs=5 * deviation / each.numel() ** 0.5)
        assert each.std().item() == pytest.approx(deviation, rel=0.05)


@given(samples=st.integers(2, 6), count=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_mixtures_lie_between_two_samples(samples: int, count: int, seed: int) -> None:
    rows = torch.arange(count) % samples
    generator = torch.Generator().manual_seed(seed)
    corners = torch.eye(samples, dtype=torch.float64)  # a mixture of them shows its own weights
    inputs = Known(corners, TOKENS), Known(corners.view(samples, 1, samples) + 1, TOKENS)
    x, y = Mixtures().draw(inputs, rows, generator)
    torch.testing.assert_close(y[:, 0], x + 1)  # all inputs of a sample are mixed alike
    assert ((x >= 0) & (x <= 1)).all()
    torch.testing.assert_close(x.sum(1), torch.ones(count, dtype=torch.float64))
    assert ((x > 0).sum(1) <= 2).all()
    others = x.clone()
    others[torch.arange(count), rows] = 0
    assert ((others > 0).sum(1) <= 1).all()


def test_weights_of_mixtures_are_uniform_and_pairs_are_all_alike() -> None:
    (x,) = drawn(Mixtures(), Known(torch.eye(4), TOKENS))
    largest = x.max(1).values
    assert largest.mean().item() == pytest.approx(0.75, abs=0.02)
    assert largest.quantile(0.25).item() == pytest.approx(0.625, abs=0.02)
    pairs = (x > 0).float()
    together = pairs.T @ pairs / COUNT
    assert (together[~torch.eye(4, dtype=torch.bool)] - 1 / 6).abs().max() < 0.03


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_drawn_has_the_form_of_what_is_known(name: str, dtype: torch.dtype) -> None:
    before = torch.get_rng_state()
    each = known(3, 4, 2, dtype=dtype)
    (x,) = drawn(DRAWS[name], each, count=5)
    assert (x.shape, x.dtype, x.device) == ((5, 4, 2), dtype, each.samples.device)
    assert torch.equal(x, drawn(DRAWS[name], each, count=5)[0])
    assert not torch.equal(x, drawn(DRAWS[name], each, count=5, seed=1)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_are_named_in_specs() -> None:
    assert DRAWS.make({"draw": "gaussian", "std": 2}) == Gaussian(std=2.0)
    assert DRAWS.make({"uniform": {"low": 0}}) == Uniform(0.0, 1.0)
    with pytest.raises(UserError, match=r"unknown draw 'gausian'.*did you mean 'gaussian'"):
        DRAWS.make("gausian")
    with pytest.raises(UserError, match=r"low of Uniform must be less than high, not 2.0 \(1.0\)"):
        DRAWS.make({"draw": "uniform", "low": 2})
    for name in DRAWS:
        assert DRAWS.describe(name).endswith(".")


class Registered(nn.Module):
    """A block whose layers lie in another module."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.act, self.body = nn.ReLU(), nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("module", "words", "dims"),
    [
        (Registered(nn.Dropout(), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(9, 2)), CHANNELS, 4),
        (Registered(nn.Conv1d(3, 3, 3)), CHANNELS, 3),
        (Registered(nn.BatchNorm1d(3), nn.Linear(3, 3)), CHANNELS, None),
        (Registered(nn.LayerNorm(3), nn.Conv2d(3, 3, 1)), TOKENS, None),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), FEATURES, None),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9, 2)), CHANNELS, 4),
        (nn.TransformerEncoderLayer(8, 2, batch_first=True), TOKENS, None),
        (nn.ReLU(), TOKENS, None),
        (resnet20(), CHANNELS, 4),
    ],
)
def test_the_first_layer_that_decides_says_what_is_taken(
    module: nn.Module, words: Axes, dims: int | None
) -> None:
    found = taken_by([nn.Identity(), module])
    assert (found.words, found.dims) == (words.words, dims)
