"""What becomes a choice among fixed values, what is left, and what is refused."""

import copy

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import slots
from tests.unit.slots.internals import fixed


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


def test_the_report_says_all():
    machine = slots.convert(network(), 4)
    shown = str(machine.report)
    assert "Sequential: 2 weights are now Reels(slots=4" in shown
    assert "0.weight  4×3×3×3" in shown
    assert "removed: 0.bias, 1.weight, 1.bias, 4.bias" in shown
    assert [line.split()[-1] for line in shown.split("\n")[2:4]] == ["2", "2"]  # bits


def test_biases_and_affine_parts_are_taken_out():
    model = network()
    slots.convert(model)
    assert model[0].bias is model[1].weight is model[1].bias is model[4].bias is None
    assert not model[1].affine
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_they_stay_where_asked():
    model = network()
    shown = str(slots.convert(model, biases=True).report)
    assert "learn as before: 0.bias, 1.weight, 1.bias, 4.bias" in shown
    assert model[4].bias.requires_grad


def test_values_are_of_the_published_width():
    model = nn.Sequential(nn.Linear(300, 100), nn.Conv1d(100, 20, 5))
    machine = slots.convert(model, 8)
    for reel, fan in zip(machine.reels, (400, 600), strict=True):
        sigma = (2 / fan) ** 0.5
        values, _ = fixed(reel)
        assert values.shape == (8, *reel.parameter.shape)
        assert values.abs().max() <= sigma
        assert values.std().item() == pytest.approx(sigma / 3**0.5, rel=0.02)
    heights = [reel.source.height / reel.source.deviation for reel in machine.reels]
    assert heights == pytest.approx([0.1, 1.0])


def test_initial_weights_are_the_best_of_the_initial_scores():
    model = nn.Linear(20, 30)
    (reel,) = slots.convert(model, 5, seed=2).reels
    values, scores = fixed(reel)
    assert torch.equal(model.weight, values.gather(0, scores.argmax(0, keepdim=True))[0])


def test_a_weight_tied_to_an_excluded_one_is_left():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False), nn.Linear(9, 2))
    model[1].weight = model[0].weight
    assert [r.name for r in slots.convert(model, exclude=["1"]).reels] == ["2.weight"]


def test_padding_stays_as_it_is_and_so_does_what_is_tied_to_it():
    model = nn.Sequential(nn.Embedding(6, 4, padding_idx=2), nn.Linear(4, 4), nn.Linear(4, 6))
    model[2].weight = model[0].weight
    before = model[0].weight.detach().clone()
    machine = slots.convert(model, 4)
    assert [reel.name for reel in machine.reels] == ["1.weight"]
    assert torch.equal(model[0].weight, before)
    assert not model[0](torch.tensor(2)).any()
    assert "learn as before: 0.weight" in str(machine.report)


def test_converting_needs_little_memory():
    from beyondprop.measure import peak_memory

    peak = peak_memory(large)
    assert peak.resident_bytes is None or peak.resident_bytes < 12 * 4 * 2000**2


def large():
    return lambda: slots.convert(nn.Linear(2000, 2000, bias=False), 8)


def test_a_seed_decides_and_none_is_drawn_by_the_global_generator():
    def weight(seed, draw=7):
        torch.manual_seed(draw)
        model = nn.Linear(9, 9)
        slots.convert(model, seed=seed)
        return model.weight

    assert torch.equal(weight(3), weight(3, draw=8))
    assert not torch.equal(weight(3), weight(4))
    assert torch.equal(weight(None), weight(None))
    assert not torch.equal(weight(None), weight(None, draw=8))


def test_layers_of_one_shape_have_values_of_their_own():
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    slots.convert(model)
    assert not torch.equal(model[0].weight, model[1].weight)


def test_shared_values():
    def values(sharing):
        model = nn.Sequential(nn.Linear(50, 40), nn.Linear(40, 40))
        machine = slots.convert(model, slots.Reels(3, sharing=sharing))
        return [set(reel.parameter.detach().flatten().tolist()) for reel in machine.reels]

    first, second = values(slots.PerLayer())
    assert len(first) == len(second) == 3
    assert not first & second
    first, second = values(slots.PerNetwork())
    assert first == second
    assert len(first) == 3


def test_excluded_modules_and_parameters_are_left_alone():
    model = network()
    before = copy.deepcopy(model)
    machine = slots.convert(model, exclude=["4", "1.weight"])
    assert [reel.name for reel in machine.reels] == ["0.weight"]
    assert torch.equal(model[4].weight, before[4].weight)
    assert model[4].bias is not None
    assert model[1].weight is not None
    assert model[1].bias is None


def test_a_frozen_layer_is_left_alone():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    shown = str(slots.convert(model).report)
    assert "do not learn, and were not changed: 0.weight, 0.bias" in shown
    assert torch.equal(model[0].weight, before)


def test_tied_weights_are_converted_once():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    machine = slots.convert(model, 3)
    assert [reel.name for reel in machine.reels] == ["0.weight"]
    assert model[1].weight is model[0].weight


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(3, 4))
        self.scale = nn.Parameter(torch.ones(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head((x @ self.table) * self.scale)


def attached():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    bp.attach(model, bp.DirectFeedbackAlignment())
    return model


def converted():
    model = nn.Linear(4, 4)
    slots.convert(model)
    return model


def compiled():
    model = nn.Linear(4, 4)
    vars(model)["_orig_mod"] = (
        model  # what torch.compile returns has one; it takes seconds to import
    )
    return model


def weight_normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))


REFUSED = {
    "unknown layer": (Odd, {}, "'table' is a parameter of Odd, an unknown kind of layer"),
    "too few slots": (lambda: nn.Linear(4, 4), {"slots": 1}, "whole number from 2 to 65,536"),
    "no whole number": (lambda: nn.Linear(4, 4), {"slots": 2.5}, "whole number from 2"),
    "attached": (attached, {}, "has rules attached: convert it first, then attach"),
    "twice": (converted, {}, "was converted before: call slots.freeze"),
    "weight norm": (weight_normed, {}, "'0.weight' is computed from other parameters"),
    "lazy": (lambda: nn.LazyLinear(4), {}, "has no shape yet: run the model once"),
    "sparse": (lambda: nn.Embedding(4, 4, sparse=True), {}, "sparse=False"),
    "largest norm": (lambda: nn.Embedding(4, 4, max_norm=1.0), {}, "has a max_norm"),
    "complex": (lambda: nn.Linear(4, 4, dtype=torch.complex64), {}, "values are real"),
    "meta": (lambda: nn.Linear(4, 4, device="meta"), {}, "has no memory"),
    "no weights": (nn.ReLU, {}, "has no weights that learn"),
    "pattern": (lambda: nn.Linear(4, 4), {"exclude": ["head"]}, "exclude='head' matches none"),
    "seed": (lambda: nn.Linear(4, 4), {"seed": 0.5}, "seed must be a whole number"),
    "compiled": (compiled, {}, "compiled already"),
    "two selections": (
        lambda: nn.Linear(4, 4),
        {"slots": slots.Reels(4), "selection": slots.Sampled()},
        "pass the selection to the kind",
    ),
}


@pytest.mark.parametrize(("build", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused_in_a_sentence(build, options, said):
    model = build()
    before = {n: type(m) for n, m in model.named_modules()}
    with pytest.raises(bp.UserError, match=said.replace("(", r"\(")) as raised:
        slots.convert(model, **options)
    assert "\n" not in str(raised.value)
    assert {n: type(m) for n, m in model.named_modules()} == before


def test_all_problems_are_told_at_once():
    with pytest.raises(bp.UserError, match=r"'table'.*exclude='x'|exclude='x'.*'table'"):
        slots.convert(Odd(), exclude=["x"])


def test_an_unknown_layer_can_be_excluded():
    model = Odd()
    machine = slots.convert(model, exclude=["table"])
    assert [reel.name for reel in machine.reels] == ["head.weight"]
    assert "learn as before: table, scale" in str(machine.report)
