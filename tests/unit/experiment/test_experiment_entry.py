"""What is wrong with a setting is said where it enters, from Python as from elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, train
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.auditing import audit
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distilling import distil_task
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.modaling import modalities_task
from beyondprop.experiment.scaling import scale
from beyondprop.experiment.several import compare_tasks
from beyondprop.experiment.sizes import Sizes
from beyondprop.experiment.study import study
from beyondprop.experiment.study_spec import StudySpec
from beyondprop.files import lock
from beyondprop.jobs import Workers

HUGE = 10**5000


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"dfa": made}
    return made


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (RunSpec, {"epochs": 1.5}, "epochs of RunSpec must be a whole number or null, not 1.5"),
        (RunSpec, {"epochs": True}, "epochs of RunSpec must be a whole number or null, not True"),
        (RunSpec, {"epochs": "3"}, "epochs of RunSpec must be a whole number or null, not '3'"),
        (RunSpec, {"batch_size": HUGE}, "not a whole number with thousands of digits"),
        (RunSpec, {"learning_rate": HUGE}, "not a whole number with thousands of digits"),
        (RunSpec, {"seed": "0"}, "seed of RunSpec must be a whole number, not '0'"),
        (RunSpec, {"rule": 3}, "rule of RunSpec must be text or a mapping, not 3"),
        (RunSpec, {"rule": nested(40)}, "rule of RunSpec must be text or a mapping, not {'dfa'"),
        (RunSpec, {"rule": nested(5000)}, "rule of RunSpec must be text or a mapping"),
        (RunSpec, {"task": None}, "task of RunSpec must be text or a mapping, not None"),
        (RunSpec, {"blocks": "0"}, "blocks of RunSpec must be a list"),
        (RunSpec, {"blocks": (0,)}, "blocks of RunSpec must be a list"),
        (RunSpec, {"data": 3}, "data of RunSpec must be a path or null, not 3"),
        (RunSpec, {"data": "a\0b"}, "data of RunSpec must be a path or null"),
        (RunSpec, {"measures": "probe"}, "measures of RunSpec must be a list"),
        (RunSpec, {"device": 0}, "device of RunSpec must be text, not 0"),
        (RunSpec, {"adversarial": 0.1}, "adversarial of RunSpec must be an Adversarial or null"),
        (CompareSpec, {"seeds": 3}, "seeds of CompareSpec must be a list of a whole number"),
        (CompareSpec, {"seeds": (0.5,)}, "seeds of CompareSpec must be a list"),
        (CompareSpec, {"rules": "dfa"}, "rules of CompareSpec must be a list"),
        (CompareSpec, {"measure_cost": "no"}, "measure_cost of CompareSpec must be true or false"),
        (CompareSpec, {"learning_rates": ("1:30",)}, "learning_rates of CompareSpec must be"),
        (CompareSpec, {"tuning_epochs": 1.5}, "tuning_epochs of CompareSpec must be a whole"),
        (StudySpec, {"trials": 1.5}, "trials of StudySpec must be a whole number, not 1.5"),
        (StudySpec, {"seed": None}, "seed of StudySpec must be a whole number, not None"),
        (Sizes, {"widths": (1.5,)}, "widths of Sizes must be a list of a whole number"),
        (DistilSpec, {"budgets": 0.5}, "budgets of DistilSpec must be a list of a number"),
        (DistilSpec, {"epochs": 1.5}, "epochs of DistilSpec must be a whole number, not 1.5"),
        (DistilSpec, {"cache_gib": float("inf")}, "cache_gib must be above 0"),
        (DistilSpec, {"limit": 3}, "limit of DistilSpec must be text, not 3"),
        (ModalitiesSpec, {"patience": "3"}, "patience of ModalitiesSpec must be a whole number"),
        (ModalitiesSpec, {"methods": "joint"}, "methods of ModalitiesSpec must be a list of text"),
        (AuditSpec, {"sections": "probe"}, "sections of AuditSpec must be a list"),
        (AuditSpec, {"threads": 1.5}, "threads of AuditSpec must be a whole number, not 1.5"),
        (Workers, {"jobs": 1.5}, "jobs of Workers must be a whole number or null, not 1.5"),
        (Workers, {"worker_memory": float("inf")}, "worker_memory must be positive"),
    ],
)
def test_a_value_of_another_type_is_named(kind: type, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as problem:
        kind(**fields)
    assert said in str(problem.value)
    assert len(str(problem.value)) < 300


def test_what_means_the_same_is_taken() -> None:
    spec = RunSpec(epochs=np.int64(3), learning_rate=1, data="folder", blocks=["0", ("1", "2")])
    assert spec == RunSpec(epochs=3, learning_rate=1.0, data=Path("folder"), blocks=spec.blocks)
    assert spec.blocks == ("0", ("1", "2"))
    assert CompareSpec(seeds=range(3)).seeds == (0, 1, 2)
    assert RunSpec(adversarial={"epsilon": 0.1}).adversarial.steps == 5


ENTRIES = {
    train: lambda **given: train(given["spec"], given["output"], given["resume"]),
    compare: lambda **given: compare(given["spec"], given["output"], given["resume"]),
    compare_tasks: lambda **given: compare_tasks(
        given["spec"], ["digits-mlp"], given["output"], given["resume"]
    ),
    scale: lambda **given: scale(
        given["spec"], Sizes(widths=(8,)), given["output"], given["resume"]
    ),
    distil_task: lambda **given: distil_task(given["spec"], given["output"], given["resume"]),
    modalities_task: lambda **given: modalities_task(
        given["spec"], given["output"], given["resume"]
    ),
    audit: lambda **given: audit(given["spec"], [], given["output"], given["resume"]),
    study: lambda **given: study(given["spec"], given["output"], given["resume"]),
}
KINDS = {
    train: RunSpec,
    compare: CompareSpec,
    compare_tasks: CompareSpec,
    scale: CompareSpec,
    distil_task: DistilSpec,
    modalities_task: ModalitiesSpec,
    audit: AuditSpec,
    study: StudySpec,
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"spec": "dfa"}, r"spec must be an? \w+Spec, not 'dfa'"),
        ({"output": 3}, "output must be a path, not 3"),
        ({"output": None}, "output must be a path, not None"),
        ({"resume": "false"}, "resume must be true or false, not 'false'"),
    ],
)
def test_an_entry_names_the_argument_that_is_wrong(
    entry: Any, wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    given = {"spec": KINDS[entry](), "output": tmp_path / "run", "resume": False, **wrong}
    with pytest.raises(UserError, match=said):
        ENTRIES[entry](**given)
    assert not (tmp_path / "run").exists()


def test_a_folder_may_be_a_text(tmp_path: Path) -> None:
    from experiment_tasks import BLOBS

    record = train(RunSpec(epochs=1, measures=()), str(tmp_path / "run"), task=BLOBS)
    assert record["status"] == "finished"
    assert (tmp_path / "run" / "record.json").exists()


READERS = {
    compare: "growing",
    compare_tasks: "several",
    distil_task: "by_seed",
    modalities_task: "by_seed",
    audit: "auditing",
}
"""Where each entry reads what a folder holds already."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize("entry", READERS, ids=lambda entry: entry.__name__)
def test_what_a_folder_holds_is_read_once_it_is_held(
    entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_spec(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        taken = lock(handle)
        os.close(handle)
        raise KeyError("free" if taken else "held")

    monkeypatch.setattr(f"beyondprop.experiment.{READERS[entry]}.read_spec", read_spec)
    monkeypatch.setattr("beyondprop.experiment.auditing.found", list)
    with pytest.raises(KeyError, match="held"):
        ENTRIES[entry](spec=KINDS[entry](), output=tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()
