"""A real process, really killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path

from experiment_tasks import SLOW

from beyondprop.experiment import RunSpec, train

SPEC = RunSpec(rule="dfa", seed=2)


def train_slowly(folder: str) -> None:
    # Set here: the server that forks may have been started by another test, without it.
    os.environ["SLOW_LOSS"] = "0.1"  # so long that no child ends before it is killed
    train(SPEC, Path(folder), resume=True, task=SLOW)


def test_a_process_killed_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    expected = train(SPEC, tmp_path / "unbroken", task=SLOW)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["beyondprop.experiment.run", "torch._dynamo"])
    moments = random.Random(0)
    for run in range(3):
        folder = tmp_path / str(run)
        # Once soon after it has begun, and once soon after its first checkpoint.
        for begun in ("metrics.jsonl", "checkpoint.pt"):
            (folder / begun).unlink(missing_ok=True)
            child = context.Process(target=train_slowly, args=(str(folder),))
            child.start()
            while child.is_alive() and not (folder / begun).exists():
                time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.15))
            child.kill()
            child.join()
            assert child.exitcode == -9, "it was to die while training"
        assert (folder / "checkpoint.pt").exists()
        resumed = train(SPEC, folder, resume=True, task=SLOW)
        unbroken = tmp_path / "unbroken" / "weights.safetensors"
        assert (folder / "weights.safetensors").read_bytes() == unbroken.read_bytes()
        assert resumed["test"] == expected["test"]
        assert json.loads((folder / "record.json").read_text())["status"] == "finished"
