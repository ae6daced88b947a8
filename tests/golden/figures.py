"""Figures that stand for all gradients of a rule on a module, in float64, over two passes.

`python -m tests.golden.figures` writes them to `gradients.json`. They were first written before
the engine was rewritten, and show that a change of structure changes no gradient.
"""

import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from tests.contract import teaching
from tests.modules import CASES

FILE = Path(__file__).with_name("gradients.json")
PAIRS = [
    (case, rule)
    for case in CASES
    for rule in teaching.RULES
    if teaching.taken(case, rule) and teaching.refusal(case, rule) is None
]


def gradients(case, rule):
    """Yield names and gradients of all that is learned, in each of two passes."""
    model = case.fresh().double()
    handle = teaching.attach(case, model, rule)
    for number in (1, 2):
        batch, targets = case.batch(number), case.classes()
        inputs = [x.double() if x.is_floating_point() else x for x in batch.inputs]
        torch.manual_seed(5)
        with handle.targets(targets):
            outputs = model(*inputs, **{k: v.double() for k, v in batch.keywords.items()})
        losses = [
            F.cross_entropy(logits.flatten(0, -2), targets.flatten())
            for logits in case.logits(outputs)
        ]
        learned = dict(model.named_parameters())
        learned |= {f"learned {i}": p for i, p in enumerate(handle.parameters())}
        for parameter in learned.values():
            parameter.grad = None
        sum(losses).backward()
        yield from ((f"{number} {name}", p.grad) for name, p in learned.items())


def figures(case, rule):
    """Return the gradients' product with fixed numbers, their norm, and how many there are."""
    product, squares, count = 0.0, 0.0, 0
    for name, gradient in gradients(case, rule):
        if gradient is None:
            continue
        phase = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) / 2**32
        places = torch.arange(gradient.numel(), dtype=torch.float64)
        flat = gradient.flatten()
        product += float(flat @ (places * 2.399963 + phase).cos())
        squares += float(flat @ flat)
        count += 1
    return [product, squares**0.5, count]


def main():
    """Write the figures of all pairs, or of those that the file lacks."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for case, rule in PAIRS:
        key = f"{case} {rule}"
        if key not in found:
            found[key] = figures(case, rule)
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(found.items())]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
