"""How many classes a model has, where its last layer is not the one that it defines last."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp

X, Y = torch.randn(4, 8), torch.tensor([0, 2, 1, 2])


class Network(nn.Module):
    """Two layers and a head, which may be defined first."""

    def __init__(self, head_first):
        super().__init__()
        torch.manual_seed(0)
        a, b, head = nn.Linear(8, 12), nn.Linear(12, 16), nn.Linear(16, 3)
        named = {"a": a, "b": b}
        for name, module in (
            {"head": head} | named if head_first else named | {"head": head}
        ).items():
            self.add_module(name, module)

    def forward(self, x):
        return self.head(torch.tanh(self.b(torch.tanh(self.a(x)))))


def taught(head_first, rule):
    model = Network(head_first)
    handle = bp.attach(model, rule, ["a", "b"], output="b")
    with handle.targets(Y):
        loss = F.cross_entropy(model(X), Y)
    loss.backward()
    return model


def test_targets_teach_a_hidden_layer_by_the_classes_that_the_model_returns():
    one, other = (taught(first, bp.DirectRandomTargetProjection()) for first in (False, True))
    gradients = {name: p.grad for name, p in one.named_parameters()}
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])


@pytest.mark.parametrize(
    "rule", [bp.LocalLoss(bp.CrossEntropy()), bp.LocalForwardGradient()], ids=["dgl", "lfg"]
)
@pytest.mark.parametrize("options", [{}, {"output": "b"}], ids=["whole", "hidden"])
def test_heads_are_not_made_for_another_number_of_classes(rule, options):
    blocks = ["a", "b"] if options else ["a", "b", "head"]
    model = Network(head_first=True)
    handle = bp.attach(model, rule, blocks, **options)
    with (
        handle.targets(Y),
        pytest.raises(
            bp.UserError, match=r"16 classes, the number of outputs .* define the last layer last"
        ),
    ):
        model(X)


@pytest.mark.parametrize("options", [{}, {"output": "b"}], ids=["whole", "hidden"])
def test_heads_are_made_for_the_number_that_is_given(options):
    blocks = ["a", "b"] if options else ["a", "b", "head"]
    model = Network(head_first=True)
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy(), classes=3), blocks, **options)
    with handle.targets(Y):
        F.cross_entropy(model(X), Y).backward()
    assert handle.parameters()[0].shape == (3, 12)
