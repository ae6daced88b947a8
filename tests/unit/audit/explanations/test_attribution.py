import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.audit import explanations as ex
from beyondprop.errors import UserError

pytest.importorskip("captum")
pytest.importorskip("shapiq")


def network(inputs=16, inplace=False):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 12), nn.ReLU(inplace), nn.Linear(12, 12),
        nn.ReLU(inplace), nn.Linear(12, 4),
    ).eval()  # fmt: skip


def linear(weights):
    """Return a model whose evidence for class 0 is the product with the weights."""
    model = nn.Linear(len(weights), 2, bias=False)
    model.weight.data = torch.stack([weights, -weights])
    return model


WEIGHTS = torch.tensor([3.0, -2, 0, 1])
METHODS = (
    ex.IntegratedGradients(),
    ex.Saliency(),
    ex.Occlusion(torch.arange(4)),
)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_of_a_linear_model_all_say_the_weight_times_what_differs(method):
    x, absent = torch.randn(5, 4), torch.randn(4)
    told, classes = ex.evidence(linear(WEIGHTS)), torch.zeros(5, dtype=torch.int64)
    maps = method.maps(told, x, classes, absent)
    said = method.contributions(maps, x, absent)
    assert torch.allclose(said, WEIGHTS * (x - absent), atol=1e-5)


def test_evidence_ignores_what_all_outputs_have_in_common():
    model, x = network(), torch.randn(3, 16)
    classes = torch.tensor([0, 2, 1])
    before = ex.evidence(model)(x, classes)
    model[-1].bias.data += 5
    assert torch.allclose(before, ex.evidence(model)(x, classes), atol=1e-5)
    logs = model(x).log_softmax(1)
    assert torch.allclose(before, logs[range(3), classes] - logs.mean(1), atol=1e-5)


@pytest.mark.parametrize("inplace", [False, True])
def test_integrated_gradients_are_complete_to_one_percent(inplace):
    model, x, absent = network(inplace=inplace), torch.randn(20, 16) * 3, torch.zeros(16)
    told, classes = ex.evidence(model), ex.answers(model, x)
    rough = ex.complete(told, x, classes, absent, steps=1, most=1)
    assert rough.error.max() > 0.01  # else the next lines say nothing
    found = ex.complete(told, x, classes, absent, steps=1)
    with torch.no_grad():
        whole = told(x, classes) - told(absent.expand(20, 16), classes)
    assert torch.allclose(found.whole, whole)
    assert ((found.maps.sum(1) - whole).abs() <= 0.011 * whole.abs()).all()
    assert found.error.max() <= 0.01
    assert len(found.steps.unique()) > 1  # only those that need it take more


def test_what_is_not_complete_is_told():
    """A step has no gradient, so that no number of steps finds it."""

    def told(x, classes):
        del classes
        return (x[:, 0] > 0).float() + 0 * x.sum(1)

    found = ex.complete(told, torch.ones(2, 3), torch.zeros(2).long(), -torch.ones(3), most=64)
    assert found.error.tolist() == [1, 1]
    assert found.steps.tolist() == [64, 64]


@pytest.mark.parametrize("inplace", [False, True])
def test_each_block_says_the_same_in_total(inplace):
    model, x, absent = network(inplace=inplace), torch.randn(6, 16) * 3, torch.zeros(16)
    told, classes = ex.evidence(model), ex.answers(model, x)
    with torch.no_grad():
        whole = told(x, classes) - told(absent.expand(6, 16), classes)
    for place in (2, 4, 5):
        found = ex.layer_figures(told, model[place], x, classes, absent)
        total = found.found.maps.flatten(1).sum(1)
        assert torch.allclose(total, whole, rtol=0.011)
        assert found.units == (4 if place == 5 else 12)
        assert 0 < found.used <= 1
        assert 0 <= found.against < 1


def test_explanations_of_a_taught_model_are_those_of_its_exact_gradients():
    """Through the feedback graph they would be others."""
    model, x, absent = network(), torch.randn(3, 16), torch.zeros(16)
    plain = ex.explain(model, x, absent, regions=torch.arange(16) // 4)
    handle = bp.attach(model, bp.FeedbackAlignment())
    model.train()
    through = x.clone().requires_grad_()
    ex.evidence(model)(through, plain.classes).sum().backward()
    assert not torch.allclose(through.grad, plain.maps["saliency"], rtol=0.1)
    model.zero_grad(set_to_none=True)
    before, generator = [len(m._forward_hooks) for m in model.modules()], torch.get_rng_state()
    found = ex.explain(model, x, absent, regions=torch.arange(16) // 4)
    for name, maps in plain.maps.items():
        assert torch.allclose(found.maps[name], maps), name
    assert torch.equal(found.interactions[0].pairs, plain.interactions[0].pairs)
    assert [len(m._forward_hooks) for m in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert not x.requires_grad
    assert torch.equal(generator, torch.get_rng_state())
    handle.remove()


def test_what_cannot_be_explained_is_refused():
    model, absent = network(), torch.zeros(16)
    with pytest.raises(UserError, match="after its embedding"):
        ex.explain(model, torch.ones(2, 16, dtype=torch.int64), absent)
    with pytest.raises(UserError, match="give regions="):
        ex.explain(network(20), torch.ones(2, 20), torch.zeros(20))
    with pytest.raises(UserError, match="absent has shape"):
        ex.explain(model, torch.ones(2, 16), torch.zeros(15))
    with pytest.raises(UserError, match=r"outputs \(samples, classes\)"):
        ex.explain(nn.Flatten(0), torch.ones(2, 16), absent)
    with pytest.raises(UserError, match="regions have shape"):
        ex.explain(model, torch.ones(2, 16), absent, regions=torch.arange(3))
