"""Transformers of x-transformers and vit-pytorch."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.models.case import Batch, Case
from benchmarks.models.hugging_face import VOCABULARY, WIDTH, classes, ids, images


def x_transformer() -> nn.Module:
    import x_transformers as x

    layers = x.Decoder(dim=WIDTH, depth=2, heads=2, attn_dim_head=8)
    return x.TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=16, attn_layers=layers)


def vit_alone() -> ModuleType:
    """Return vit-pytorch's `vit.py`; the package itself would import torchvision."""
    spec = importlib.util.find_spec("vit_pytorch")
    if spec is None or spec.origin is None:
        raise ImportError("vit-pytorch is not installed")
    file = Path(spec.origin).with_name("vit.py")
    found = importlib.util.spec_from_file_location("vit_alone", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def vit() -> nn.Module:
    model: nn.Module = vit_alone().ViT(
        **{"image_size": 8, "patch_size": 4, "num_classes": 3, "dim": WIDTH},
        **{"depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 32},
    )
    return model


def next_token(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def words() -> Batch:
    text: Any = ids(9)
    return Batch({"x": text[:, :-1]}, text[:, 1:])


def pictures() -> Batch:
    return Batch({"img": images()}, classes())


CASES = [
    Case(
        *("x-transformers", "transformer", x_transformer, words),
        blocks=("attn_layers.layers.?.1",),
        heads=("to_logits",),
        loss=next_token,
        output="to_logits",
        package="x_transformers",
    ),
    Case(
        *("vit-pytorch", "transformer", vit, pictures),
        blocks=("transformer.layers.?.?",),
        heads=("mlp_head",),
        loss=cross_entropy,
        output="mlp_head",
        exact=("cls_token", "pos_embedding"),
        package="vit_pytorch",
    ),
]
"""The models, in the order of the table."""
