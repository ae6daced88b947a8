"""The transformers of the package, compared with PyTorch's own layers."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.models.transformer import Layer, NormFirstLayer, gpt, parts, vit

WIDTH, HEADS = 8, 2

NAMES = {
    Layer: ("norm1", "norm2"),
    NormFirstLayer: ("attention_norm", "up_norm"),
}


def of_pytorch(layer):
    """Return PyTorch's layer with the same weights."""
    first = isinstance(layer, NormFirstLayer)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=first
    ).double()
    norm1, norm2 = (getattr(layer, name) for name in NAMES[type(layer)])
    pairs = {
        "self_attn.in_proj_weight": layer.attention.inward.weight,
        "self_attn.in_proj_bias": layer.attention.inward.bias,
    }
    for name, module in {
        "self_attn.out_proj": layer.attention.outward,
        "linear1": layer.up,
        "linear2": layer.down,
        "norm1": norm1,
        "norm2": norm2,
    }.items():
        pairs |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    theirs.load_state_dict(pairs)
    return theirs


@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_a_layer_is_that_of_pytorch(kind):
    layer = kind(WIDTH, HEADS, causal=True).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 5, WIDTH, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    torch.testing.assert_close(
        layer(x), of_pytorch(layer)(x, src_mask=mask, is_causal=True), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_does_not_see_what_follows(norm_first):
    model = gpt(11, 6, WIDTH, 2, HEADS, norm_first).double()
    ids = torch.randint(11, (2, 6))
    later = ids.clone()
    later[:, 4:] = (ids[:, 4:] + 1) % 11
    before, after = model(ids), model(later)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=1e-12)
    assert (before[:, 4:] - after[:, 4:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("norm_first", [False, True])
def test_behind_the_layers_the_head_alone_learns(norm_first):
    model = gpt(11, 6, WIDTH, 2, HEADS, norm_first)
    later = [name for name, _ in model.named_parameters() if name.startswith(("norm", "head"))]
    assert later == ["head.weight", "head.bias"]


@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_within_layers_hold_all_that_learns_before_the_head(norm_first):
    model = gpt(11, 6, WIDTH, 2, HEADS, norm_first)
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), parts(2, norm_first), output="norm")
    taught = [name for block in handle.blocks for name, _ in block.parameters()]
    assert len(handle.blocks) == 1 + 3 * 2 + 1
    assert sorted(taught) == sorted(
        name for name, _ in model.named_parameters() if not name.startswith("head")
    )


def test_patches_that_do_not_fill_an_image_are_refused():
    for side, patch in ((8, 3), (8, 0)):
        with pytest.raises(UserError, match="do not fill a side of 8"):
            vit(side, patch, WIDTH, layers=1, heads=HEADS, classes=3)
    with pytest.raises(UserError, match="cannot be shared by 3 heads"):
        vit(8, 4, WIDTH, layers=1, heads=3, classes=3)


def test_an_encoder_of_images_is_that_of_its_patches():
    model = vit(8, 4, WIDTH, layers=2, heads=HEADS, classes=3, channels=1).double()
    images = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    patches = [images[:, 0, i : i + 4, j : j + 4].flatten(1) for i in (0, 4) for j in (0, 4)]
    kernel = model.embed.patch
    tokens = [
        patch @ kernel.weight.flatten(1).T + kernel.bias + model.embed.position.weight[place]
        for place, patch in enumerate(patches)
    ]
    x = torch.stack(tokens, 1)  # (batch, patches, width)
    for layer in model.layers:
        x = of_pytorch(layer)(x)
    x = nn.functional.layer_norm(x, (WIDTH,)).mean(1)
    expected = x @ model.head.linear.weight.T + model.head.linear.bias
    torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-12)
