"""The examples run, without a warning, and print what they promise."""

import re
import runpy
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"
PRINTED = {
    "own_loop.py": ["DirectFeedbackAlignment", "this is not backpropagation"],
    "block_by_block.py": ["Local losses, eight blocks", "read by a linear probe", "  input "],
    "slot_machine.py": ["weights are now Reels", "Packed: ", "Tuned as an ordinary"],
    "own_csv.py": ["repaid of loans.csv: one of 2 classes", "predsim  "],
    "own_images.py": ["images of digits at 8 x 8 pixels, one of 10 classes", "frozen  "],
    "two_inputs.py": ["drtp  ", "frozen  "],
    "ragged_text.py": ["drtp  ", "frozen  "],
    "two_modalities.py": ["image alone: ", "without the image", "mean weight: image"],
    "smaller.py": ["The teacher: ", "of the operations of its blocks"],
    "rules_by_block.py": ["stem      Frozen", "layers.2  DirectFeedbackAlignment"],
}


def test_every_example_is_known() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == set(PRINTED)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PRINTED)
def test_example_runs(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEYONDPROP_DATA", raising=False)  # the data that it makes itself
    monkeypatch.setattr("sys.argv", [name])
    with torch.random.fork_rng():
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    shown = capsys.readouterr().out
    assert all(text in shown for text in PRINTED[name])
    accuracy = re.search(r"Test accuracy: ([\d.]+)%", shown)
    assert accuracy
    assert float(accuracy[1]) > 85  # a guess is right in 10% of cases
