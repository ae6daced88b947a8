"""Heads on blocks: made in the first pass, the same every time, and carried along in copies."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from torch import nn
from torch.nn.parameter import is_lazy

import beyondprop as bp
from beyondprop.projections import Redrawn


def net(width=6):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, 3)
    )


def batch(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 5, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(3, (8,), generator=generator)


def run(handle, x, y):
    with handle.targets(y):
        loss = F.cross_entropy(handle.model(x), y)
    loss.backward()


def attached(rule=None, model=None):
    return bp.attach(model or net(), rule or bp.LocalLoss())


def made(handle, dtype=torch.float32):
    run(handle, *batch(dtype=dtype))
    return {n: t.clone() for n, t in handle.state_dict().items() if n != "passes"}


def test_heads_have_no_shape_before_the_first_pass_and_the_blocks_afterwards():
    handle = attached()
    held = handle.parameters()
    assert all(is_lazy(p) for p in held)
    assert handle.state_dict().keys() == {"passes"}
    shapes = {n: tuple(t.shape) for n, t in made(handle).items()}
    assert shapes == {
        "0.classifier.weight": (3, 6),
        "0.classifier.bias": (3,),
        "0.similarity.weight": (6, 6),
        "0.similarity.bias": (6,),
        "2.classifier.weight": (3, 4),
        "2.classifier.bias": (3,),
        "2.similarity.weight": (4, 4),
        "2.similarity.bias": (4,),
    }
    assert [id(p) for p in handle.parameters()] == [id(p) for p in held]  # an optimizer has these
    assert all(p.grad is not None for p in held)
    assert not any(n.startswith("classifier") for n in handle.model.state_dict())


def test_heads_depend_on_the_seed_and_the_blocks_name_alone():
    first = made(attached())
    torch.manual_seed(99)
    again = made(attached())
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    other = made(attached(bp.LocalLoss(projection=Redrawn(1))))
    equal = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
    blocks = made(attached(model=equal))
    for part in ("classifier.weight", "similarity.weight"):
        assert not torch.equal(other[f"0.{part}"], first[f"0.{part}"])
        assert not torch.equal(blocks[f"0.{part}"], blocks[f"2.{part}"])
    assert not torch.equal(
        first["0.similarity.weight"][:3].flatten(), first["0.classifier.weight"].flatten()
    )


def test_weights_begin_as_large_as_those_of_pytorchs_layers():
    wide = nn.Sequential(nn.Linear(5, 400), nn.Tanh(), nn.Linear(400, 3))
    state = made(attached(bp.LocalLoss(bp.SimilarityMatching()), wide))
    weight = state["0.similarity.weight"]
    plain = nn.Linear(400, 400).weight
    assert weight.std().item() == pytest.approx(plain.std().item(), rel=0.02)
    assert abs(weight.mean().item()) < 1e-3
    assert not state["0.similarity.bias"].any()


def test_heads_learn_as_the_block_does():
    handle = attached()
    optimizer = torch.optim.SGD([*handle.model.parameters(), *handle.parameters()], 0.1)
    before = made(handle)
    optimizer.step()
    after = handle.state_dict()
    assert all(not torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("passes", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_copies_have_the_same_heads(copied, passes, dtype):
    handle = attached(model=net().to(dtype))
    for _ in range(passes):
        made(handle, dtype)
        for parameter in (*handle.model.parameters(), *handle.parameters()):
            parameter.grad = None
    twin = bp.attachment_of(copied(handle.model))
    assert twin is not handle
    its = made(twin, dtype)
    torch.testing.assert_close(made(handle, dtype), its, rtol=0, atol=0)
    assert {t.dtype for t in its.values()} == {dtype}
    mine, theirs = handle.parameters(), twin.parameters()
    assert not {id(p) for p in mine} & {id(p) for p in theirs}


def test_a_model_made_double_after_attaching_gets_double_heads():
    handle = attached()
    handle.model.double()
    assert {t.dtype for t in made(handle, torch.float64).values()} == {torch.float64}


@pytest.mark.parametrize("loaded_after", [0, 1])
def test_state_dicts_go_round_before_and_after_the_first_pass(loaded_after):
    handle = attached()
    optimizer = torch.optim.SGD([*handle.model.parameters(), *handle.parameters()], 0.1)
    run(handle, *batch())
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": handle.model.state_dict(), "heads": handle.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin = attached(bp.LocalLoss(projection=Redrawn(5)))  # its own heads would be others
    held = twin.parameters()
    for _ in range(loaded_after):
        run(twin, *batch(7))
    for each in (handle, twin):
        for parameter in (*each.model.parameters(), *each.parameters()):
            parameter.grad = None
    twin.model.load_state_dict(saved["model"])
    twin.load_state_dict(saved["heads"])
    assert [id(p) for p in twin.parameters()] == [id(p) for p in held]
    for each in (handle, twin):
        run(each, *batch(1))
    torch.testing.assert_close(twin.state_dict(), handle.state_dict(), rtol=0, atol=0)
    for mine, its in zip(handle.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, its.grad)


def test_a_state_before_the_first_pass_may_be_loaded_too():
    handle, twin = attached(), attached()
    twin.load_state_dict(handle.state_dict())
    torch.testing.assert_close(made(twin), made(handle), rtol=0, atol=0)


def test_heads_of_other_rules_are_refused():
    handle = attached()
    made(handle)
    with pytest.raises(bp.UserError, match="saved by another attachment"):
        attached(bp.LocalLoss(bp.CrossEntropy())).load_state_dict(handle.state_dict())
    wide = attached(model=net(7))
    made(wide)
    with pytest.raises(bp.UserError, match="was saved with shape"):
        wide.load_state_dict(handle.state_dict())


class Growing(nn.Module):
    """Puts out one number more in every pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 8)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return self.layer(x)[:, : 3 + self.passes]


def test_a_block_whose_output_changes_its_size_is_refused():
    model = nn.Sequential(Growing(), nn.LazyLinear(3))
    model(batch()[0])
    handle = attached(bp.LocalLoss(bp.CrossEntropy()), model)
    model[0].passes = 0
    run(handle, *batch())
    for parameter in (*model.parameters(), *handle.parameters()):
        parameter.grad = None
    with pytest.raises(
        bp.UserError, match=r"'classifier\.weight' of shape \(3, 4\), but this pass needs \(3, 5\)"
    ):
        run(handle, *batch())
    assert internals.open_pass(handle) is None


class Scaled(nn.Module):
    """A last layer whose outputs cannot be counted before it has run."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 3))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.parametrize(
    "objective", [bp.CrossEntropy(), bp.SimilarityMatching(), bp.PredSim(), bp.InfoPro()]
)
def test_classes_that_cannot_be_seen_must_be_given(objective):
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), Scaled())
    with pytest.raises(bp.AttachError, match=r"set LocalLoss\(\.\.\., classes=…\)"):
        bp.attach(model, bp.LocalLoss(objective))
    handle = bp.attach(model, bp.LocalLoss(objective, classes=3))
    run(handle, *batch())
    assert model[0].weight.grad.any()


def test_norms_behind_the_last_layer_do_not_hide_the_classes():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.LayerNorm(3))
    assert bp.attach(model, bp.LocalLoss()).passes.classes == 3


def test_the_number_of_classes_may_be_larger_than_the_models():
    handle = attached(bp.LocalLoss(bp.CrossEntropy(), classes=9))
    assert made(handle)["0.classifier.weight"].shape == (9, 6)


def test_a_head_that_no_optimizer_holds_is_reported():
    handle = attached()
    optimizer = torch.optim.SGD(handle.model.parameters(), 0.1)
    run(handle, *batch())
    optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(bp.UserError, match=r"build the optimizer over .*handle\.parameters\(\)"):
        run(handle, *batch())


def test_settings_say_how_to_build_the_rule_again():
    found = bp.LocalLoss(bp.PredSim(0.5)).settings()
    assert found["rule"] == "predsim"
    assert found["objective"]["name"] == "predsim"
    assert found["objective"]["beta"] == 0.5
    assert found["projection"] == {"name": "redrawn", "seed": 0}
