"""The radiance field against one that is written in loops, and under rules."""

import pickle

import pytest
import torch
from tests.reference import nerf as slow
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import beyondprop as bp
from beyondprop.core import Block
from beyondprop.errors import UserError
from beyondprop.measure import isolation
from beyondprop.models.nerf import (
    BLOCKS,
    OUTPUT,
    RadianceField,
    encoded,
    inverse_transform,
    rendered,
    weights_of,
)

NEAR, FAR = 1.0, 4.0


def small(**sizes: int) -> RadianceField:
    torch.manual_seed(0)
    given = {"depth": 3, "width": 8, "coarse": 5, "fine": 4} | sizes
    return RadianceField(NEAR, FAR, **given).double()


def rays(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    found = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    found[:, 3:] /= found[:, 3:].norm(dim=1, keepdim=True)
    return found


def test_the_encoding_is_that_of_the_loop() -> None:
    x = rays()[:, :3]
    wanted = torch.tensor([slow.encoded(row, 10) for row in x.tolist()], dtype=x.dtype)
    assert torch.allclose(encoded(x, 10), wanted, atol=1e-12)


def test_weights_and_colours_are_those_of_the_loop() -> None:
    depths = NEAR + (FAR - NEAR) * torch.rand(4, 6, dtype=torch.float64).sort(1).values
    raw = 3 * torch.randn(4, 6, 4, dtype=torch.float64)
    density = raw[..., 0].abs()
    found = weights_of(density, depths, FAR)
    for row in range(4):
        wanted = slow.weights(density[row].tolist(), depths[row].tolist(), FAR)
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-12)
        colour = slow.colour(raw[row].tolist(), depths[row].tolist(), FAR)
        assert rendered(raw, depths, FAR)[row].tolist() == pytest.approx(colour, abs=1e-12)


def test_what_is_empty_is_white_and_what_is_dense_hides_what_is_behind() -> None:
    depths = torch.tensor([[1.0, 2.0, 3.0]])
    raw = torch.full((1, 3, 4), -40.0)
    assert rendered(raw, depths, FAR).tolist() == [pytest.approx([1, 1, 1], abs=1e-6)]
    raw[0, 1] = torch.tensor([100.0, 40.0, -40.0, -40.0])
    raw[0, 2] = torch.tensor([100.0, -40.0, 40.0, -40.0])
    assert rendered(raw, depths, FAR).tolist() == [pytest.approx([1, 0, 0], abs=1e-6)]


def test_the_inverse_transform_is_that_of_the_loop() -> None:
    weights = torch.rand(5, 7, dtype=torch.float64).square()
    weights[0, 2:5] = 0
    u = torch.rand(5, 20, dtype=torch.float64)
    u[:, 0], u[:, 1] = 0, 1
    found = inverse_transform(weights, u)
    for row in range(5):
        wanted = [slow.inverse_transform(weights[row].tolist(), each) for each in u[row].tolist()]
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-9)


def test_samples_are_as_dense_as_the_weights() -> None:
    weights = torch.tensor([[1.0, 0.0, 3.0, 0.0]])
    u = (torch.arange(10_000)[None] + 0.5) / 10_000
    counted = torch.histc(inverse_transform(weights, u), bins=4, min=0, max=1) / 10_000
    assert counted.tolist() == pytest.approx([0.25, 0, 0.75, 0], abs=1e-3)


@pytest.mark.parametrize(
    "sizes", [{}, {"fine": 0}, {"depth": 6, "skip": 4}, {"depth": 2, "skip": 1}]
)
def test_the_model_is_that_of_the_loop(sizes: dict[str, int]) -> None:
    model, given = small(**sizes).eval(), rays()
    with torch.no_grad():
        found = model(given)
        depths = model.depths(*given.split(3, dim=1))
    for row, ray in enumerate(given.tolist()):
        colour, wanted = slow.rendered(model, ray)
        assert depths[row].tolist() == pytest.approx(wanted, abs=1e-9)
        assert found[row].tolist() == pytest.approx(colour, abs=1e-9)


def test_samples_are_drawn_in_training_and_even_otherwise() -> None:
    model, (origins, directions) = small(), rays(50).split(3, dim=1)
    torch.manual_seed(0)
    first, second = (model.depths(origins, directions) for _ in range(2))
    assert not torch.equal(first, second)
    assert (first.diff(dim=1) >= 0).all()
    assert ((first >= NEAR) & (first <= FAR)).all()
    model.fine = 0
    parts = ((model.depths(origins, directions) - NEAR) / (FAR - NEAR) * model.coarse).floor()
    assert torch.equal(parts, torch.arange(5.0, dtype=torch.float64).expand(50, 5))
    model.eval()
    assert torch.equal(model.depths(origins, directions), model.depths(origins, directions))


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="0 <= near < far, not 4 and 1"):
        RadianceField(4, 1)
    with pytest.raises(UserError, match="not depth 0, width 128"):
        RadianceField(1, 4, depth=0)


def attach(model: nn.Module, rule: str) -> bp.Attachment:
    made = bp.rules.make(rule)
    return bp.attach(model, made, blocks=BLOCKS, output=OUTPUT, axes="batch tokens features")


def gradients(model: nn.Module, handle: bp.Attachment | None = None) -> dict[str, Tensor]:
    torch.manual_seed(2)
    given, wanted = rays(), rays()[:, 3:].abs()
    if handle is None:
        mse_loss(model(given), wanted).backward()
    else:
        with handle.targets(wanted):
            mse_loss(model(given), wanted).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_the_blocks_are_the_layers_and_one_of_colours_and_the_output() -> None:
    model = small()
    handle = attach(model, "dfa")
    assert [block.name for block in handle.blocks] == [
        "trunk.0",
        "trunk.1",
        "trunk.2",
        "feature",
        "density",
    ]
    held = [name for block in handle.blocks for name, _ in block.parameters()]
    assert sorted(held) == sorted(name for name, _ in model.named_parameters())


def test_dfa_teaches_each_point_by_a_matrix_times_its_own_error() -> None:
    """By hand: the error of each point at the module `join`, B e at the end of each block."""
    model = small()
    plain, handle = pickle.loads(pickle.dumps(model)), attach(model, "dfa")
    found = gradients(model, handle)

    seen: dict[str, tuple[Tensor, Tensor]] = {}  # a block's own input and output

    def ended(name: str):
        def hook(_module, inputs, output):
            if torch.is_grad_enabled():
                seen[name] = inputs[0], output
                return output.detach().requires_grad_()
            return output

        return hook

    for name in ("trunk.0", "trunk.1", "trunk.2", "colour"):
        plain.get_submodule(name).register_forward_hook(ended(name))
    raw = []
    plain.join.register_forward_hook(lambda _m, _i, output: raw.append(output))
    torch.manual_seed(2)
    loss = mse_loss(plain(rays()), rays()[:, 3:].abs())
    (error,) = torch.autograd.grad(loss, raw, retain_graph=True)
    assert error.shape == (3, 9, 4)  # rays, samples, density and colour
    wanted = dict(plain.named_parameters())
    blocks = {block.name: block for block in handle.blocks}
    ends = {"trunk.0": "trunk.0", "trunk.1": "trunk.1", "trunk.2": "trunk.2", "feature": "colour"}
    for name, end in ends.items():
        _, output = seen[end]
        matrix = feedback(blocks[name], output.shape[-1])
        names = [each for each, _ in blocks[name].parameters()]
        made = torch.autograd.grad(output, [wanted[each] for each in names], error @ matrix)
        for each, gradient in zip(names, made, strict=True):
            assert torch.allclose(found[each], gradient, rtol=1e-9, atol=1e-15), each
    last = [name for name, _ in blocks["density"].parameters()]
    made = torch.autograd.grad(loss, [wanted[each] for each in last])
    for each, gradient in zip(last, made, strict=True):
        assert torch.allclose(found[each], gradient, rtol=1e-9, atol=1e-15), each


def feedback(block: Block, width: int) -> Tensor:
    """Return DFA's matrix for a block of this width, ``(4, width)``."""
    projection, like = block.rule.projection, torch.empty(0, dtype=torch.float64)
    return projection.matrix(4, width, projection.stream(block.stream), like)


@pytest.mark.parametrize("rule", ["backprop", "dfa", "fa", "kp", "dkp", "dgl", "frozen"])
def test_every_kind_of_rule_teaches_it_and_backprop_is_plain(rule: str) -> None:
    model = small()
    exact = gradients(model)
    handle = attach(model, rule)
    for _ in range(2):  # what learns takes its shape in the first pass
        found = gradients(model, handle)
    last = {"density.weight", "density.bias", "rgb.weight", "rgb.bias"}
    assert found.keys() == (last if rule == "frozen" else exact.keys())
    for name in found if rule == "backprop" else last:
        assert torch.equal(found[name], exact[name]), name
    if rule not in ("backprop", "frozen"):
        assert not torch.allclose(found["trunk.0.0.weight"], exact["trunk.0.0.weight"])
    with bp.exact_gradients(model):
        again = gradients(model, handle)
    assert all(torch.equal(again[name], exact[name]) for name in exact)


def test_targets_say_nothing_of_a_point() -> None:
    model = small()
    handle = attach(model, "drtp")
    with pytest.raises(UserError, match=r"targets of shape .* do not fit an output of shape"):
        gradients(model, handle)


@pytest.mark.parametrize("rule", ["dfa", "dgl"])
def test_the_coarse_samples_teach_nothing(rule: str) -> None:
    """Fixed to what they were, they leave the same gradients."""
    model = small()
    handle = attach(model, rule)
    gradients(model, handle)
    before = gradients(model, handle)
    torch.manual_seed(2)
    with torch.no_grad():
        depths = model.depths(*rays().split(3, dim=1))
    model.depths = lambda _origins, _directions: depths
    after = gradients(model, handle)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("fine", "isolated"), [(0, True), (4, False)])
def test_only_where_the_fine_samples_go_depends_on_later_blocks(fine: int, isolated: bool) -> None:
    handle = attach(small(fine=fine), "dfa")
    found = isolation(handle, rays(), rays()[:, 3:].abs())
    assert found.isolated == isolated
    assert found.crossings == ()
