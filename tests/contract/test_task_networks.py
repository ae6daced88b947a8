"""The networks of tasks in mixed precision, compiled, and on a GPU, as their tasks attach rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import beyondprop as bp
from beyondprop._torch.calling import call
from beyondprop._torch.pytrees import replaced
from beyondprop.models import encoders, graph, nerf, recommender, transformer
from beyondprop.tasks.multimodal import common
from beyondprop.tasks.multimodal.common import Encoder

SIZES = (5, 3, 4)
IDS = torch.arange(32).view(4, 8) % 7
PICTURES = torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8)
CLICKS = torch.stack([torch.arange(20) % size for size in SIZES], 1)
NODES = torch.linspace(-1, 1, 40).view(10, 4)
EDGES = torch.stack([torch.arange(20) % 10, torch.arange(20) * 3 % 10])
FRAMES = torch.linspace(-1, 1, 4 * 6 * 5).sin().view(4, 6, 5)
LENGTHS = torch.tensor([6, 2, 1, 4])
PRESENT = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
RAYS = torch.tensor([[0.1 * i, 0.0, 4.0, 0.0, 0.0, -1.0] for i in range(6)])


@dataclass(frozen=True)
class Network:
    """A network of a task, small.

    Attributes:
        make: Builds it.
        inputs: Of a batch; those of several modalities by name.
        attach: Further arguments of `attach`.
        training: Whether it is taught in training mode. A radiance field draws places along its
            rays there, which the generator of each device does on its own.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[Tensor, ...] | Mapping[str, Any]
    attach: dict[str, Any]
    training: bool = True


def decoder(norm_first: bool) -> Network:
    blocks = transformer.parts(2, norm_first)
    text = {"blocks": blocks, "output": "norm", "axes": "batch tokens features"}
    return Network(lambda: transformer.gpt(7, 8, 16, 2, 2, norm_first), (IDS,), text)


def of_graph(make: Callable[..., nn.Module]) -> Network:
    inputs = (NODES, EDGES, torch.arange(6))
    kind = {"blocks": graph.BLOCKS, "output": graph.OUTPUT, "axes": graph.AXES}
    return Network(lambda: make(4, 3, dropout=0.0), inputs, kind)


def of_clicks(kind: Any, *sizes: Any) -> Network:
    return Network(lambda: kind(SIZES, 6, *sizes), (CLICKS,), {"blocks": kind.BLOCKS})


def of_modalities(inputs: Mapping[str, Any], **made: Encoder) -> Network:
    network = common.Network(made, common.WIDTH, 3)
    return Network(network, inputs, {"blocks": common.BLOCKS})


def vit() -> nn.Module:
    return transformer.vit(8, 4, 16, 2, 2, 3)


def field() -> nn.Module:
    return nerf.RadianceField(near=2.5, far=5.5, depth=2, width=16, coarse=8, fine=8)


NETWORKS = {
    "decoder, norms first": decoder(norm_first=True),
    "decoder, norms behind": decoder(norm_first=False),
    "vit": Network(
        vit, (PICTURES,), {"blocks": transformer.BLOCKS, "axes": "batch tokens features"}
    ),
    "gcn": of_graph(graph.gcn),
    "cheb": of_graph(graph.cheb),
    "gat": of_graph(graph.gat),
    "sage": of_graph(graph.sage),
    "spline": of_graph(graph.spline),
    "deepfm": of_clicks(recommender.DeepFM, (8, 7)),
    "dcn": of_clicks(recommender.DeepCross, 2, (8, 7)),
    "autoint": of_clicks(recommender.AutoInt, 4, 2, 2, (8, 7)),
    "afn": of_clicks(recommender.AFN, 5, (8, 7)),
    # As of mfeat's views and of generated data, spoken digits, clothing reviews and aligned files.
    "vectors": of_modalities(
        {"one": NODES[:6], "other": NODES[4:]},
        one=Encoder(encoders.vectors, (4,)),
        other=Encoder(encoders.vectors, (4,)),
    ),
    "sound and picture": of_modalities(
        {"sound": FRAMES, "picture": PICTURES[:, :1]},
        sound=Encoder(encoders.Frames, (5,)),
        picture=Encoder(encoders.pictures, (1, 8)),
    ),
    "text and table": of_modalities(
        {"text": IDS, "table": NODES[:4]},
        text=Encoder(encoders.Words, (7,)),
        table=Encoder(encoders.vectors, (4,)),
    ),
    "aligned, with gaps": of_modalities(
        {"words": (FRAMES, LENGTHS), "face": (FRAMES.flip(0), LENGTHS), "present": PRESENT},
        words=Encoder(encoders.Frames, (5,)),
        face=Encoder(encoders.Frames, (5,)),
    ),
    "nerf": Network(field, (RAYS,), {"blocks": nerf.BLOCKS}, training=False),
}

each = pytest.mark.parametrize("name", NETWORKS)
rules = pytest.mark.parametrize("rule", ["dfa", "fa"])

# As in test_compile.py: both come of PyTorch's compiler itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


def gradients(
    name: str,
    rule: str,
    device: str = "cpu",
    run: Callable[[Any], Any] = lambda model: model,
    precision: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Return the gradients of one backward pass."""
    network = NETWORKS[name]
    torch.manual_seed(0)
    model = network.make().to(device).train(network.training)
    bp.attach(model, bp.rules.make(rule), **network.attach)
    torch.manual_seed(1)
    with torch.autocast(device, precision, enabled=precision is not None):
        outputs = call(run(model), replaced(network.inputs, lambda x: x.to(device)))
    weights = torch.linspace(-1, 1, outputs.numel(), device=device).view(outputs.shape)
    (outputs.float() * weights).sum().backward()
    found = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    assert len(found) > 2
    return found


@each
@rules
def test_mixed_precision_teaches_about_the_same(name: str, rule: str) -> None:
    expected = gradients(name, rule)
    found = gradients(name, rule, precision=torch.bfloat16)
    assert found.keys() == expected.keys()
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    one, other = (torch.cat([g.flatten() for g in of.values()]) for of in (found, expected))
    assert one.isfinite().all()
    assert cosine_similarity(one, other, dim=0) > 0.98


@each
def test_compiled_they_learn_the_same(name: str) -> None:
    torch._dynamo.reset()
    expected = gradients(name, "dfa")
    found = gradients(name, "dfa", run=lambda model: torch.compile(model, backend="eager"))
    torch._dynamo.reset()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")
@each
@rules
def test_a_gpu_teaches_the_same(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected, found = gradients(name, rule), gradients(name, rule, "cuda")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
