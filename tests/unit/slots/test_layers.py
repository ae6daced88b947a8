"""Which parameters of each kind of layer are weights, and their fans."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import slots


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (nn.Conv2d(64, 64, 3, groups=64), (9, 9)),
        (nn.Conv2d(4, 6, 1, groups=2), (2, 3)),
        (nn.Conv1d(8, 2, 5), (40, 10)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (18, 27)),
        (nn.Embedding(100, 8), (8, 8)),
    ],
)
def test_fans(layer, fan):
    (reel,) = slots.convert(layer).reels
    assert reel.source.deviation == pytest.approx((2 / sum(fan)) ** 0.5)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.MultiheadAttention(8, 2), ["in_proj_weight", "out_proj.weight"]),
        (
            nn.MultiheadAttention(8, 2, kdim=4, vdim=6),
            ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
        ),
        (nn.Embedding(9, 4), ["weight"]),
        (nn.EmbeddingBag(9, 4), ["weight"]),
        (nn.Bilinear(3, 4, 5), ["weight"]),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), ["weight"]),
        (nn.GRUCell(4, 5), ["weight_ih", "weight_hh"]),
        (
            nn.LSTM(4, 5, num_layers=2),
            ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_known_layers(layer, names):
    machine = slots.convert(layer, 3)
    assert [reel.name for reel in machine.reels] == names
    for reel in machine.reels:
        assert reel.parameter.unique().numel() > 3 * reel.parameter.numel() ** 0.5


def test_a_recurrent_layer_without_biases_runs():
    layer = nn.LSTM(4, 5)
    slots.convert(layer)
    assert not layer.bias_ih_l0.any()
    assert not layer.bias_ih_l0.requires_grad
    assert layer(torch.randn(3, 2, 4))[0].shape == (3, 2, 5)


class Conv1D(nn.Module):
    """As that of transformers.pytorch_utils: the weight is kept as (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.ones(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


Conv1D.__module__ = "transformers.pytorch_utils"


class Named(nn.Linear):
    pass


@pytest.mark.parametrize("biases", [True, False])
def test_layers_that_rules_of_layers_know_by_name_are_converted(biases):
    layer = Conv1D(3, 4)
    machine = slots.convert(layer, biases=biases)
    (reel,) = machine.reels
    assert reel.name == "weight"
    assert reel.source.deviation == pytest.approx((2 / 7) ** 0.5)
    assert layer(torch.randn(2, 4)).shape == (2, 3)
    assert layer.bias.requires_grad == bool(layer.bias.any()) == biases


def test_subclasses_are_converted():
    assert [reel.name for reel in slots.convert(Named(4, 3)).reels] == ["weight"]


class Tokens(nn.Module):
    def __init__(self, positions):
        super().__init__()
        self.token, self.positions = (
            nn.Parameter(torch.randn(shape)) for shape in ((1, 1, 4), positions)
        )
        self.layer = nn.Linear(4, 4)


def test_tokens_and_position_embeddings_learn_as_ever():
    machine = slots.convert(Tokens((1, 5, 4)))
    assert [reel.name for reel in machine.reels] == ["layer.weight"]
    assert "learn as before: token, positions" in str(machine.report)
    with pytest.raises(bp.UserError, match=r"exclude=\['positions'\]"):
        slots.convert(Tokens((5, 4)))
