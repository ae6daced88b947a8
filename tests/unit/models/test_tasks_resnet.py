"""ResNet-20, against the paper's description written out slowly."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.models.resnet import BLOCKS, ResidualBlock, resnet20
from beyondprop.rules import Rule

NAMES = ["stem", *(f"layers.{number}" for number in range(9)), "head"]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet20()


def test_parameters_are_those_of_option_a(model: nn.Module) -> None:
    """The paper says 0.27 million. With projections (option B) they would be 272,474."""

    def conv(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + 2 * outputs  # with the weight and bias of its BatchNorm

    stages = [
        6 * conv(16, 16),
        conv(16, 32) + 5 * conv(32, 32),
        conv(32, 64) + 5 * conv(64, 64),
    ]
    expected = conv(3, 16) + sum(stages) + 64 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == expected == 269_722
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == 20


def test_sizes_of_the_stages(model: nn.Module) -> None:
    x = model.get_submodule("stem")(torch.randn(2, 3, 32, 32))
    shapes = [x.shape[1:]]
    layers = model.get_submodule("layers")
    assert isinstance(layers, nn.Sequential)
    for layer in layers:
        x = layer(x)
        shapes.append(x.shape[1:])
    assert shapes == [(16, 32, 32)] * 4 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    assert model.get_submodule("head")(x).shape == (2, 10)


def slow_shortcut(x: Tensor, channels: int, stride: int) -> Tensor:
    n, inputs, height, width = x.shape
    out = torch.zeros(n, channels, height // stride, width // stride, dtype=x.dtype)
    for channel in range(inputs):
        for row in range(height // stride):
            for column in range(width // stride):
                out[:, channel, row, column] = x[:, channel, stride * row, stride * column]
    return out


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (3, 8, 2)])
def test_the_shortcut_is_the_input_subsampled_and_padded(
    inputs: int, outputs: int, stride: int
) -> None:
    block, x = ResidualBlock(inputs, outputs, stride), torch.randn(2, inputs, 8, 8)
    assert torch.equal(block.shortcut(x), slow_shortcut(x, outputs, stride))


def slow_norm(x: Tensor, norm: nn.Module) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    out = torch.empty_like(x)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        deviation = (values.var(correction=0) + norm.eps).sqrt()
        out[:, channel] = (values - values.mean()) / deviation
        out[:, channel] = out[:, channel] * norm.weight[channel] + norm.bias[channel]
    return out


@torch.no_grad()
def test_outputs_and_weights_are_as_the_paper_says(model: nn.Module) -> None:
    """y = ReLU(F(x) + x), F two convolutions, each with BatchNorm and one ReLU between them."""
    model.double()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms that are not the identity
            parameter.copy_(torch.randn_like(parameter))
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    at = model.get_submodule

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = model.get_parameter(f"{name}.weight")
        return F.conv2d(x, weight, stride=stride, padding=1)

    y = slow_norm(conv(x, "stem.0"), at("stem.1")).relu()
    for number in range(9):
        name, stride = f"layers.{number}", 2 if number in (3, 6) else 1
        channels = 16 * 2 ** (number // 3)
        inner = slow_norm(conv(y, f"{name}.conv1", stride), at(f"{name}.bn1")).relu()
        inner = slow_norm(conv(inner, f"{name}.conv2"), at(f"{name}.bn2"))
        y = (inner + slow_shortcut(y, channels, stride)).relu()
    expected = y.sum((2, 3)) / 64 @ model.get_parameter("head.2.weight").T
    expected = expected + model.get_parameter("head.2.bias")
    torch.testing.assert_close(model(x), expected)


def test_convolutions_start_as_he_et_al_draw_them(model: nn.Module) -> None:
    weight = model.get_parameter("layers.8.conv2.weight")
    assert weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_nothing_is_computed_in_place(model: nn.Module) -> None:
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == 19
    assert not any(relu.inplace for relu in relus)


@pytest.mark.parametrize(
    "rule",
    [bp.Backprop(), bp.FeedbackAlignment(), bp.DirectFeedbackAlignment(), bp.Frozen()],
    ids=lambda rule: rule.name,
)
def test_each_residual_block_is_a_block_in_the_order_they_run(model: nn.Module, rule: Rule) -> None:
    x, y = torch.randn(4, 3, 32, 32), torch.arange(4)
    handle = bp.attach(model, rule, blocks=BLOCKS)
    assert [block.name for block in handle.blocks] == NAMES
    assert sum(len(block.parameters()) for block in handle.blocks) == len(list(model.parameters()))
    with handle.targets(y):
        loss = F.cross_entropy(model(x), y)
    loss.backward()
    taught = {name.split(".conv")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert ("layers.0" in taught) == (rule.name != "frozen")
