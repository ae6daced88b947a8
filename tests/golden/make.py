"""Record the gradients of today: ``python -m tests.golden.make [FOLDER]``.

Writes ``gradients.json`` next to this file; to the folder, if one is given, all tensors to the last
bit, in a file for each rule, for `tests.golden.compare`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.contract.teaching import RULES
from tests.golden.values import PAIRS, Numbers, numbers, values
from tests.modules import Case

FILE = Path(__file__).with_name("gradients.json")

Recorded = dict[str, dict[str, dict[str, Numbers]]]
"""Numbers by rule, case, and schedule and pass."""


def main(folder: Path | None = None) -> None:
    """Record everything."""
    torch.set_num_threads(1)
    recorded: Recorded = {}
    for rule in RULES:
        found = {case: values(case, rule) for case in cases_of(rule)}
        recorded[rule] = {
            case.name: {key: numbers(tensors) for key, tensors in passes.items()}
            for case, passes in found.items()
        }
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(dict(in_full(found)), folder / f"{rule}.safetensors")
    FILE.write_text(written(recorded))


def cases_of(rule: str) -> Iterator[Case]:
    """Yield the cases that a rule can teach."""
    return (case for case, other in PAIRS if other == rule)


def in_full(found: dict[Case, dict[str, dict[str, Tensor | None]]]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a rule by ``case/schedule/pass/parameter``; a None is left out."""
    for case, passes in found.items():
        for key, tensors in passes.items():
            for name, tensor in tensors.items():
                if tensor is not None:
                    yield f"{case}/{key}/{name}", tensor.contiguous()


def written(recorded: Recorded) -> str:
    """Return the record as JSON, a line for each pair."""
    rules = []
    for rule, cases in recorded.items():
        lines = [f'  "{case}": {json.dumps(passes)}' for case, passes in cases.items()]
        rules.append(f'"{rule}": {{\n' + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(rules) + "\n}\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
