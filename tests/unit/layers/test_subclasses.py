"""Layers of a class of one's own that compute as those of PyTorch, and weights that are made."""

import copy
import pickle

import pytest
import torch
from tests import internals
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from transport import Only, Transport, assert_transported, outcome, rand

import beyondprop as bp
from beyondprop.layers import OPERATIONS, feedback_class


class Named(nn.Linear):
    """A linear layer with an attribute and a method of its own."""

    scale = 3

    def tripled(self):
        return self.scale * self.weight


class Again(Named):
    pass


class Image(nn.Conv2d):
    pass


class Reduced(nn.Linear):
    """A class that says how it is copied."""

    def __reduce__(self):
        return Reduced, (self.in_features, self.out_features), vars(self)


class Wide(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Standardised(nn.Conv2d):
    """Its forward is inherited, but what that calls is not."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight - weight.mean(), bias)


class Registering(nn.Linear):
    """A class that keeps a registry of what derives from it, by a key that it asks for."""

    known: dict = {}  # noqa: RUF012

    def __init_subclass__(cls, key, **rest):
        super().__init_subclass__(**rest)
        cls.known[key] = cls


def test_a_class_that_inherits_its_forward_is_covered():
    x, image = rand(2, 4), rand(2, 3, 5, 5)
    for kind in (Named, Again, Registering):
        assert_transported(kind(4, 3).double(), lambda model: model(x), [x])
    assert_transported(Image(3, 2, 3).double(), lambda model: model(image), [image])
    assert Registering.known == {}


def test_its_class_attributes_and_name_survive():
    model = nn.Sequential(Again(4, 4), nn.Linear(4, 4))
    handle = bp.attach(model, bp.FeedbackAlignment())
    layer = model[0]
    assert isinstance(layer, Again)
    assert type(layer).__name__ == "Again"
    assert str(layer) == str(Again(4, 4))
    torch.testing.assert_close(layer.tripled(), 3 * layer.weight)
    other = nn.Sequential(Again(2, 2))
    bp.attach(other, bp.FeedbackAlignment())
    assert type(other[0]) is type(layer)  # one class for each kind of layer
    handle.remove()
    assert type(layer) is Again
    assert "_feedback" not in vars(layer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_covered_too(copied):
    model, x = nn.Sequential(Named(4, 4), Reduced(4, 4), Again(4, 2)).double(), rand(2, 4)
    bp.attach(model, bp.FeedbackAlignment())
    twin = copied(model)
    ours, its = (outcome(m, lambda m: m(x), [x]) for m in (model, twin))
    torch.testing.assert_close(ours, its, rtol=0, atol=0)
    bp.attachment_of(twin).remove()
    assert [type(m) for m in twin] == [Named, Reduced, Again]
    assert all(internals.is_swapped(layer) for layer in model)


@pytest.mark.parametrize("layer", [Wide(4, 4), Standardised(4, 4, 1)])
def test_a_class_with_a_forward_of_its_own_is_refused(layer):
    with pytest.raises(bp.AttachError, match=f"cannot cover '0' .{type(layer).__name__}.*exact="):
        bp.attach(nn.Sequential(layer, nn.Linear(4, 4)), bp.FeedbackAlignment())


def test_every_operation_covers_subclasses():
    for base, operation in OPERATIONS.items():
        made = feedback_class(type("Own", (base,), {}))
        assert made is not operation
        assert issubclass(made, operation)
        assert feedback_class(type("Other", (base,), {"forward": Wide.forward})) is None


MADE = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.4),
}


def layers():
    return {
        "linear": (nn.Linear(4, 3), rand(2, 4)),
        "subclass": (Named(4, 3), rand(2, 4)),
        "conv": (nn.Conv1d(4, 3, 2), rand(2, 4, 5)),
        "transposed": (nn.ConvTranspose1d(4, 3, 2), rand(2, 4, 5)),
    }


@pytest.mark.parametrize("kind", list(layers()))
@pytest.mark.parametrize("how", list(MADE))
def test_made_weights_learn_by_their_parents_and_send_errors_by_the_rule(how, kind):
    layer, x = layers()[kind]
    model = Only(MADE[how](layer)).double()
    begun = copy.deepcopy(model.state_dict())
    plain = outcome(model, lambda m: m(x), [x])
    model.load_state_dict(begun)
    own = type(layer)
    handle = bp.attach(model, Transport(factor=2.0), blocks=["layer"])
    torch.testing.assert_close(model.state_dict(), begun, rtol=0, atol=0)
    ours = outcome(model, lambda m: m(x), [x])
    torch.testing.assert_close(ours, [plain[0], [2 * plain[1][0], *plain[1][1:]]])
    assert type(layer).__name__ == own.__name__ or how not in ("weight_norm", "spectral_norm")
    handle.remove()
    assert type(layer) is own
    model.load_state_dict(begun)
    torch.testing.assert_close(outcome(model, lambda m: m(x), [x]), plain)


@pytest.mark.parametrize("rule", ["fa", "usf", "brsf", "frsf", "wm"])
def test_attaching_to_a_made_weight_takes_no_step_of_its_iteration(rule):
    def build():
        torch.manual_seed(0)
        layer = parametrizations.spectral_norm(nn.Linear(4, 4))
        return nn.Sequential(nn.Linear(4, 4), layer, nn.Tanh(), nn.Linear(4, 2))

    plain, model, x = build(), build(), torch.randn(3, 4)
    bp.attach(model, bp.rules.make(rule))
    for _ in range(2):
        torch.testing.assert_close(model(x), plain(x))
        torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()))


def test_a_layer_whose_only_weight_is_made_is_not_exact_in_silence():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return x @ self.weight

    odd = parametrizations.orthogonal(Odd())
    with pytest.raises(bp.AttachError, match=r"cannot cover '0' .ParametrizedOdd"):
        bp.attach(nn.Sequential(odd, nn.Linear(4, 4)), bp.FeedbackAlignment())
    bp.attach(nn.Sequential(odd, nn.Linear(4, 4)), bp.FeedbackAlignment(exact=("0",)))


@pytest.mark.parametrize("kind", [nn.Linear, Named])
def test_a_parametrization_that_came_later_survives_remove(kind):
    model = nn.Sequential(kind(4, 4), nn.Linear(4, 2))
    handle = bp.attach(model, bp.FeedbackAlignment())
    parametrizations.weight_norm(model[0])
    handle.remove()
    assert type(model[0]).__bases__ == (kind,)
    assert type(model[0]).__name__ == f"Parametrized{kind.__name__}"
    assert parametrize.is_parametrized(model[0])
    model(torch.randn(2, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is kind


def test_a_class_that_came_later_is_not_lost_by_remove():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    handle = bp.attach(model, bp.FeedbackAlignment())
    model[1].__class__ = Wide
    words = r"the class of '1' was changed to .*Wide after .*: undo this"
    with pytest.raises(bp.UserError, match=words):
        handle.remove()
    assert bp.attachment_of(model) is handle
    assert internals.is_swapped(model[0])
