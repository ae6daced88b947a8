"""Models in plain PyTorch, one of each kind, without further packages."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from benchmarks.models.case import Batch, Case
from benchmarks.models.geometric import CLASSES, FEATURES, NODES, WIDTH, edges, features
from benchmarks.models.hugging_face import VOCABULARY, classes, ids, images
from benchmarks.models.networks.graph import GCN
from benchmarks.models.networks.language import GPT, Translator
from benchmarks.models.networks.radiance import NeRF
from benchmarks.models.networks.recommender import DCN, DeepFM
from benchmarks.models.networks.vision import Mixer, UNet

FIELDS = (7, 5, 9)


def gpt_words() -> Batch:
    text = ids(9)
    return Batch({"idx": text[:, :-1], "targets": text[:, 1:]}, text[:, 1:])


def own_loss(outputs: tuple[Tensor, Tensor], _targets: Tensor) -> Tensor:
    return outputs[1]


def translations() -> Batch:
    target = ids(9).t()  # (tokens, batch)
    return Batch({"src": ids(11).t(), "tgt": target[:-1]}, target[1:])


def each_token(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def nodes() -> Batch:
    found = torch.cat([edges(), torch.arange(NODES).expand(2, -1)], 1)  # and each node itself
    weights = torch.full((found.shape[1],), 1 / 3)
    adjacency = torch.sparse_coo_tensor(found, weights, (NODES, NODES), check_invariants=True)
    return Batch({"x": features(), "adjacency": adjacency}, torch.arange(NODES) % CLASSES)


def pictures() -> Batch:
    return Batch({"images": images()}, classes())


def segments() -> Batch:
    shown = images()
    return Batch({"images": shown}, (shown.sum(1) > 0).long())  # (batch, height, width)


def rays() -> Batch:
    directions = torch.linspace(-1, 1, 18).mul(9).sin().view(6, 3)
    return Batch(
        {"origins": directions.flip(0), "directions": directions}, directions.abs().flip(1)
    )


def clicks() -> Batch:
    shown = torch.stack([torch.arange(16).mul(3 + i) % size for i, size in enumerate(FIELDS)], 1)
    return Batch({"x": shown}, shown.sum(1) % 2)  # (batch,)


def clicked(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, targets.float())


def gpt() -> nn.Module:
    return GPT(VOCABULARY, 16, WIDTH, depth=2, heads=2)


def deep_fm() -> nn.Module:
    return DeepFM(FIELDS, 8, (32, 16))


def dcn() -> nn.Module:
    return DCN(FIELDS, 8, (32, 16), crosses=2)


CASES = [
    Case(
        *("GPT in plain PyTorch", "transformer", gpt, gpt_words),
        blocks=("h.*",),
        heads=("ln_f", "lm_head"),
        loss=own_loss,
        output="ln_f",
        targets="targets",
    ),
    Case(
        *("nn.Transformer, tokens first", "encoder-decoder"),
        *(lambda: Translator(VOCABULARY, WIDTH, 2, 2), translations),
        blocks=(
            *("transformer.encoder.layers.*", "transformer.encoder.norm"),
            "transformer.decoder.layers.*",
        ),
        heads=("generator",),
        loss=each_token,
        output="generator",
        axes={"*.encoder.*": "source batch features", "generator": "tokens batch features"},
    ),
    Case(
        *("GCN in plain PyTorch", "graph", lambda: GCN(FEATURES, WIDTH, CLASSES), nodes),
        blocks=("gc1", "gc2"),
        heads=("gc3",),
        classes=CLASSES,
        loss=cross_entropy,
    ),
    Case(
        *("MLP-Mixer", "mixer", lambda: Mixer(8, 4, WIDTH, 2, CLASSES), pictures),
        blocks=("blocks.*",),
        heads=("head",),
        loss=cross_entropy,
        output="head",
    ),
    Case(
        *("U-Net", "u-net", lambda: UNet(4, 2), segments),
        blocks=("inc", "down?", "up?"),
        heads=("outc",),
        loss=cross_entropy,
    ),
    Case(
        *("NeRF", "nerf", lambda: NeRF(16, 4), rays),
        blocks=("pts_linears.*",),
        heads=("*_linear",),
        loss=mse_loss,
        axes={"pts_linears.*": "(batch points) features"},
    ),
    Case(
        *("DeepFM", "recommender", deep_fm, clicks),
        blocks=("mlp.0", "mlp.4"),
        heads=("linear", "embedding", "mlp.8"),
        loss=clicked,
        classes=2,
    ),
    Case(
        *("Deep & Cross", "recommender", dcn, clicks),
        blocks=("embedding", "cross", "mlp.0", "mlp.4"),
        heads=("linear",),
        loss=clicked,
        classes=2,
    ),
]
"""The models, in the order of the table."""
