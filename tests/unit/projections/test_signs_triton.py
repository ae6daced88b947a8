"""Triton's kernels without a GPU: in the interpreter, and as the code that a GPU would run."""

from pathlib import Path

import pytest
import torch
from tests.fresh import python

from beyondprop.kernels import registry, signs

triton = pytest.importorskip(
    "triton", reason="Triton comes with PyTorch for GPUs and is not installed here"
)


def test_in_the_interpreter_they_make_what_plain_pytorch_makes():
    assert python(str(Path(__file__).with_name("interpreted.py"))) == ["done"]


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("kernel", ["add", "add_back"])
def test_products_are_compiled_in_full_precision(kernel, rows, dtype):
    """The code for a GPU does not round its factors to 10 bits, as that for float32 may."""
    sizes = {"add": ("inputs", "width"), "add_back": ("outputs", "width")}[kernel]
    pointers = {"root": "*i64", "x": f"*{dtype}", "found": f"*{dtype}"}
    numbers = dict.fromkeys(("count", *sizes), "i32")
    code = compiled(kernel, pointers | numbers, {"block": 64, "rows": rows})
    assert ".f32" in code if dtype == "fp32" else ".f64" in code
    assert "tf32" not in code


def test_sizes_of_one_are_compiled():
    """Triton takes a 1 for a constant."""
    pointers = {"root": "*i64", "x": "*fp32", "found": "*fp32"}
    ones = {"block": 64, "rows": 1, "count": 1, "width": 1}
    for kernel, size in (("add", "inputs"), ("add_back", "outputs")):
        assert compiled(kernel, pointers, ones | {size: 1})
    sizes = {"first_output": 1, "first_group": 1, "outputs": 1, "groups": 1, "block": 64}
    assert compiled("fill", {"root": "*i64", "found": "*fp32"}, sizes)


def compiled(kernel, signature, constants):
    """Return the code for a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from beyondprop.kernels import signs_triton

    if "nvidia" not in triton.backends.backends:
        pytest.skip("this Triton does not compile for CUDA")
    whole = signature | dict.fromkeys(constants, "constexpr")
    code = ASTSource(getattr(signs_triton, kernel), whole, constants)
    target = GPUTarget("cuda", 80, 32)
    return triton.compile(code, target=target, options=signs_triton.OPTIONS).asm["ptx"]


class Elsewhere:
    """A tensor as it is on some device."""

    def __init__(self, device, dtype=torch.float32):
        self.is_cpu, self.is_cuda, self.dtype = device == "cpu", device == "cuda", dtype


def test_kernels_are_chosen_by_device_type_and_what_is_installed(monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda module: module == "triton")
    assert registry.compiler_for(Elsewhere("cuda")) == "triton"
    assert registry.compiler_for(Elsewhere("cuda", torch.float64)) == "triton"
    assert registry.compiler_for(Elsewhere("cuda", torch.bfloat16)) == ""
    assert not any(registry.compiler_for(Elsewhere(device)) for device in ("cpu", "mps"))
    monkeypatch.setattr(registry, "installed", lambda _: False)
    assert registry.compiler_for(Elsewhere("cuda")) == ""


def test_where_they_are_chosen_they_are_used(monkeypatch):
    from beyondprop.kernels import signs_triton

    for module in (registry, signs):
        monkeypatch.setattr(module, "compiler_for", lambda _: "triton")
    monkeypatch.setattr(signs_triton, "signs", lambda *args: args)
    x = torch.ones(2, 70)
    assert signs.signs(3, range(5), range(70), x) == (3, range(5), range(70), x)
    monkeypatch.setattr(signs_triton, "signed_sums", lambda _, x, n, __: x.new_ones(len(x), n))
    assert torch.equal(signs.signed_sums(3, x, 5, False), torch.ones(2, 5))
    assert torch.equal(signs.signed_sums(3, x, 5, True), torch.ones(2, 5))


IMPORTS = """
import sys, torch, beyondprop as bp
bp.projections.Streamed().project(torch.ones(2, 70), 50, 0)
bp.projections.Signs().project(torch.ones(2, 70), 50, 0)
print(*(name for name in ("triton", "beyondprop.kernels.signs_triton") if name in sys.modules))
"""


def test_nothing_is_imported_before_it_is_used():
    assert python("-c", IMPORTS) == []
