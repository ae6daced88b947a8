"""Figures of runs on a dashboard."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from beyondprop.cli import main
from beyondprop.errors import UserError, install
from beyondprop.experiment import TensorBoard, Tracker, track

EPOCH = {
    "epoch": 1,
    "step": 2,
    "validation_score": 0.5,
    "train_loss": None,
    "measures": {"alignment": {"alignment": 0.25, "note": "text", "sure": True}},
}
LINES = [{"epoch": 1, "step": 1, "loss": 3.0}, {"epoch": 1, "step": 2, "loss": 2.0}, EPOCH]
FOUND = [
    (1, {"epoch": 1, "loss": 3.0}),
    (2, {"epoch": 1, "loss": 2.0}),
    (2, {"epoch": 1, "validation_score": 0.5, "measures/alignment/alignment": 0.25}),
]


class Kept(Tracker):
    """Keeps what it is given."""

    name = "kept"

    def __init__(self, stop_after: int = 0) -> None:
        self.found: list[tuple[str, int, Mapping[str, float]]] = []
        self.closed, self.stop_after = False, stop_after

    def log(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        self.found.append((run, step, figures))
        if len(self.found) == self.stop_after:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


def write(folder: Path, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, LINES)) + end
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_a_tracker_gets_the_figures_of_all_runs(tmp_path: Path) -> None:
    for run in ("a/runs/dfa-seed0", "b"):
        write(tmp_path / run)
    kept = Kept()
    assert track(tmp_path, kept) == 6
    wanted = [(run, *each) for run in ("a/runs/dfa-seed0", "b") for each in FOUND]
    assert kept.found == wanted
    assert kept.closed


def test_a_run_alone_has_its_folders_name(tmp_path: Path) -> None:
    kept = Kept()
    track(write(tmp_path / "mine"), kept)
    assert {run for run, *_ in kept.found} == {"mine"}


def test_runs_that_go_on_are_followed_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "run", end="")  # the last line is not whole yet

    def wait(_: float) -> None:
        assert len(kept.found) == 2
        write(tmp_path / "run")

    monkeypatch.setattr("beyondprop.experiment.tracking.time.sleep", wait)
    kept = Kept(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        track(tmp_path, kept, follow=True)
    assert kept.found == [("run", *each) for each in FOUND]
    assert kept.closed


def test_a_folder_without_runs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"contains no metrics\.jsonl: .* or use follow=True"):
        track(tmp_path, Kept())
    assert main(["track", str(tmp_path), "--tracker", f"{__name__}:Kept"]) == 2
    assert capsys.readouterr().err.endswith("contains runs, or use --follow\n")


def test_tensorboard_shows_them(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra track")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path / "run")
    for _ in range(2):  # what was written before is replaced
        track(tmp_path, TensorBoard())
    events = EventAccumulator(str(tmp_path / "tensorboard" / "run")).Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(1, 3.0), (2, 2.0)]
    assert [each.value for each in events.Scalars("measures/alignment/alignment")] == [0.25]


def test_tensorboard_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=re.escape(install("track"))):
        TensorBoard()


def test_a_run_that_begins_anew_with_a_longer_file_is_read_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "run") / "metrics.jsonl"
    kept = Kept()

    def wait(_: float) -> None:
        if len(kept.found) > len(LINES):
            raise KeyboardInterrupt
        path.write_text("\n".join(json.dumps({**each, "more": 1.0}) for each in LINES) + "\n")

    monkeypatch.setattr("beyondprop.experiment.tracking.time.sleep", wait)
    with pytest.raises(KeyboardInterrupt):
        track(tmp_path, kept, follow=True)
    assert len(kept.found) == 2 * len(LINES)


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", "3", "null", '{"loss": 1}', '{"step": "x"}', "[" * 100_000, "\xff", "", "\r"),
        *('{"step": 1e400}', '{"step": 99999999999999999999999}', f'{{"step": {2**63}}}'),
        *('{"step": true}', '{"step": -5}', '{"step": 2.5}', '{"step": null}'),
        '{"step": 1, "loss": 1' + "0" * 400 + "}",
    ],
)
def test_a_damaged_line_is_told(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "run") / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match="contains a line that is not a step's metrics") as told:
        track(tmp_path, Kept())
    assert str(path) in str(told.value)
    assert "line 4: " in str(told.value)
    assert "Error" not in str(told.value)


def test_the_largest_step_is_sent(tmp_path: Path) -> None:
    path = write(tmp_path / "run") / "metrics.jsonl"
    path.write_text(f'{{"step": {2**63 - 1}, "loss": 1}}\n')
    kept = Kept()
    track(tmp_path, kept)
    assert kept.found == [("run", 2**63 - 1, {"loss": 1.0})]


def test_a_damaged_line_that_is_added_later_is_told_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "run") / "metrics.jsonl"

    def wait(_: float) -> None:
        path.write_text(path.read_text() + '{"step": 3}\n{"step": -1}\n')

    monkeypatch.setattr("beyondprop.experiment.tracking.time.sleep", wait)
    with pytest.raises(UserError, match="line 5: "):
        track(tmp_path, Kept(), follow=True)


def test_a_folder_that_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        track(tmp_path / "mistyped", Kept(), follow=True)
