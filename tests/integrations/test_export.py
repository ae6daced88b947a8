"""docs/export.md: the ONNX file computes what the model does, whatever is attached."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import beyondprop as bp

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
(RECIPE,) = re.findall(r"^```python no-run\n# to_onnx\.py\n(.*?)^```$", PAGE, re.S | re.M)

pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("rule", ["dfa", "fa", "pepita"])
def test_onnx(rule: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"needs {package}, which is not installed")
    import onnxruntime

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()).append(
        nn.Linear(16, 3)
    )
    handle = bp.attach(model, rule)
    x, batch = torch.randn(5, 8), torch.export.Dim("batch")
    with torch.no_grad():
        wanted = model(x[:3])
    named = {"torch": torch, "model": model, "x": x, "batch": batch}
    exec(RECIPE, named | {"handle": handle, "folder": tmp_path})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x[:3].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted)


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("rule", ["dfa", "drtp", "fa", "kp", "pepita"])
def test_the_exporter_s_message_names_the_way_out(rule: str, dynamo: bool, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"needs {package}, which is not installed")
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    model.append(nn.Linear(16, 3))
    bp.attach(model, rule)
    asked = {"dynamo": dynamo, "verbose": False}
    with pytest.raises(Exception, match=r"call handle\.remove\(\) first"):
        torch.onnx.export(model, (torch.randn(5, 8),), tmp_path / "model.onnx", **asked)
    with bp.exact_gradients(model):
        torch.onnx.export(model, (torch.randn(5, 8),), tmp_path / "model.onnx", **asked)
    assert (tmp_path / "model.onnx").stat().st_size
