"""Which concepts influence which classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited
from beyondprop.audit.explanations.evidence import evidence
from beyondprop.audit.explanations.figures import of_concepts
from beyondprop.audit.explanations.layers import block_ends, with_rows
from beyondprop.audit.explanations.parts.names import class_names
from beyondprop.audit.explanations.tcav import ConceptTest, concepts
from beyondprop.errors import UserError
from beyondprop.tasks import Samples

EACH = 5
"""Number of disjoint sets that a concept's examples can fill; the same for random examples."""

MOST = 2000
"""Number of test samples that are searched for samples of each class."""

CLASSES = 10
"""Maximum number of classes whose own samples serve as concepts."""


def pushes(
    model: nn.Module,
    audited: Audited,
    own: Mapping[str, Tensor] | None,
    samples: int,
    test: ConceptTest,
) -> Answer:
    """Return which concepts influence which classes, in the middle hidden block.

    Args:
        model: The explained model.
        audited: Provides the data.
        own: Your own concepts; None for the training samples of each class.
        samples: Samples of each class.
        test: Settings of the test.

    Raises:
        UserError: No hidden block has an output with one row per sample.
    """
    ends = list(block_ends(audited.task, model).values())[:-1]
    inputs, targets = _drawn(audited.data.test, MOST, audited.seed)
    usable = with_rows(model, ends, inputs[:2])
    if not usable:
        raise UserError("the model has no hidden block whose output has a row for each sample")
    layer = usable[(len(usable) - 1) // 2]
    labels = class_names(audited, targets)
    asked = range(min(CLASSES, len(labels)))
    rows = torch.cat([(targets == each).nonzero().flatten()[:samples] for each in asked])
    pool, examples = _examples(audited, asked, labels, test)
    found = concepts(
        evidence(model), model.get_submodule(layer), inputs[rows], targets[rows],
        examples if own is None else own, pool, test,
    )  # fmt: skip
    return {
        "layer": layer,
        "sets": test.sets,
        "controls": test.controls,
        "level": test.level,
        "towards": sum(each.significant and each.score > each.control for each in found),
        "away": sum(each.significant and each.score < each.control for each in found),
        "pairs": of_concepts(found, labels),
    }


def _examples(
    audited: Audited, classes: Sequence[int], labels: Sequence[str], test: ConceptTest
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return random training samples, and disjoint examples of each class."""
    count = len(classes) * EACH * test.size
    inputs, targets = _drawn(audited.data.train, 2 * count, audited.seed)
    random = min(EACH * test.size, len(inputs) // 4)
    pool, rest, of = inputs[:random], inputs[random:], targets[random:]
    return pool, {labels[each]: rest[of == each][: EACH * test.size] for each in classes}


def _drawn(samples: Samples, count: int, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    inputs, targets = samples.batch(order[:count])
    return inputs, targets
