"""On a GPU every rule teaches what it teaches on the CPU, and slots choose the same values."""

from dataclasses import fields, replace

import pytest
import torch

import beyondprop as bp
from beyondprop import neighbourhoods, slots
from beyondprop.projections import Redrawn
from beyondprop.slots.packed import pack
from beyondprop.slots.staircase import PlainStaircase, make
from tests.contract.teaching import found, learned, loss_of, pairs, rule_of
from tests.modules import CASE

DEVICE = "cuda"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here"
)


def promised(name):
    """Return a rule whose random numbers are promised to be the same on all devices."""
    rule = rule_of(name)
    drawn = [f.name for f in fields(rule) if isinstance(getattr(rule, f.name), Redrawn)]
    return replace(rule, **{each: bp.Dense() for each in drawn})


def trained(case, rule, device):
    """Take two steps; return the gradients of the second."""
    model = case.fresh().to(device)
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD(learned(model).values(), 0.1)
    for step in range(2):
        optimizer.zero_grad()
        (x,), _ = case.batch(step)
        with handle.targets(case.classes().to(device)):
            (logits,) = case.logits(model(x.to(device)))
        loss_of(case, logits.cpu()).backward()
        optimizer.step()
    return {n: None if g is None else g.cpu() for n, g in found(model).items()}


@pairs([CASE["mlp"], CASE["convnet"]])
def test_gradients_are_those_of_the_cpu(case, rule, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected = trained(case, promised(rule), "cpu")
    gave = trained(case, promised(rule), DEVICE)
    torch.testing.assert_close(gave, expected, rtol=1e-3, atol=1e-5)


def played(device, dtype=torch.float64):
    """Return a converted network that learned for a few steps."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(20, 50), torch.nn.Tanh(), torch.nn.Linear(50, 10)
    model = torch.nn.Sequential(*layers).to(device, dtype)
    slots.convert(model, 8, seed=3)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.2, momentum=0.9), model)
    for step in range(5):
        torch.manual_seed(step)
        x, y = torch.randn(16, 20, dtype=dtype).to(device), torch.randint(10, (16,)).to(device)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def test_slots_choose_the_values_that_they_choose_on_the_cpu(tmp_path):
    """In float64, so that gradients are rounded too finely to decide between two values."""
    expected, gave = played("cpu"), played(DEVICE)
    reels = slots.machine_of(expected).reels, slots.machine_of(gave).reels
    for one, other in zip(*reels, strict=True):
        assert torch.equal(other.parameter.cpu(), one.parameter)
        assert torch.equal(other.option().cpu(), one.option())
    assert (reels[0][0].scores.tensor != 0).any()
    pack(expected, tmp_path / "cpu.safetensors")
    pack(gave, tmp_path / "cuda.safetensors")
    assert (tmp_path / "cpu.safetensors").read_bytes() == (
        tmp_path / "cuda.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_staircase_writes_the_same_weights(dtype):
    """The fused one of the GPU, the plain one there, and the plain one on the CPU."""
    source = slots.machine_of(played(DEVICE, dtype)).reels[0].source
    for kept in (1.0, 1 / 3, 0.0, -0.5):
        numbers = 0.1 * torch.randn(source.shape, dtype=dtype, device=DEVICE)
        weights, plain = torch.empty_like(numbers), torch.empty_like(numbers)
        make(source).write(numbers, kept, weights)
        PlainStaircase(source).write(numbers, kept, plain)
        assert torch.equal(weights, plain)
        on_cpu = torch.empty_like(numbers, device="cpu")
        PlainStaircase(source).write(numbers.cpu(), kept, on_cpu)
        assert torch.equal(weights.cpu(), on_cpu)


def test_a_teacher_on_the_gpu_is_distilled_from_files(tmp_path):
    torch.manual_seed(0)
    piece = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh())
    teacher = torch.nn.Sequential(piece, torch.nn.Linear(6, 2)).to(DEVICE).eval()
    data = [torch.randn(8, 6, device=DEVICE) for _ in range(2)]
    candidates = {"rank": neighbourhoods.make("low-rank")}
    parts = neighbourhoods.split(teacher, ["0"])
    library = neighbourhoods.distil(teacher, parts, data, tmp_path, candidates)
    merged = library.merge(teacher, {"0": "rank"})
    assert {each.device.type for each in merged.parameters()} == {DEVICE}
    assert merged(data[0]).shape == (8, 2)
