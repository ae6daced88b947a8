"""Whether a concept, defined by examples, influences an answer (TCAV).

Kim et al., "Interpretability beyond feature attribution: quantitative testing with concept
activation vectors", ICML 2018. The vector of a concept is the direction, in the output of a layer,
that separates the concept's examples from random ones. Its score for a class is the share of the
class's samples for which a step in this direction adds evidence for the class (equation 1). Vectors
between random sets are the control: a t-test over several random sets compares the score of the
concept with theirs (section 3.3). Unlike in the paper, each set also draws from the concept's
examples: with the same examples in all sets, accidental similarities of these few examples would be
significant.

captum also implements TCAV (`captum.concept`), but it stores activations and vectors in files and
unpickles them; here they stay in memory. Tests compare the two implementations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop.audit.explanations.attribution import TOGETHER
from beyondprop.audit.explanations.evidence import Told
from beyondprop.errors import UserError
from beyondprop.registry import check_fields


@dataclass(frozen=True)
class ConceptTest:
    """Settings of the test of concepts.

    Attributes:
        sets: Random sets that each concept is separated from; each gives one vector.
        controls: Random sets that are separated from other random sets.
        size: Maximum number of examples in a set; at most half of a concept's examples, drawn for
            each set.
        seed: Seed for the draw of random sets.
        level: Significance level for all pairs of a concept and a class together (Holm's
            correction).

    Raises:
        UserError: There are fewer than two sets or controls, or fewer than four examples.
    """

    sets: int = 10
    controls: int = 30
    size: int = 100
    seed: int = 0
    level: float = 0.05

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.sets, self.controls) < 2 or self.size < 4:
            raise UserError("a test of concepts needs at least 2 sets, 2 controls and 4 examples")


@dataclass(frozen=True)
class Pushed:
    """The influence of a concept on a class.

    Attributes:
        concept: Name of the concept.
        towards: The class.
        score: The TCAV score: the share of the class's samples that the concept moves towards the
            class, averaged over the random sets.
        control: The same score of random examples.
        p: p-value of the difference, by a two-sided Welch t-test over the sets; not corrected.
        significant: Whether the difference is significant after the correction for all pairs.
        told_apart: Accuracy of separating the concept's examples from random ones, on examples that
            the vector was not fitted to. Near 0.5 the layer does not represent the concept.
    """

    concept: str
    towards: int
    score: float
    control: float
    p: float
    significant: bool = False
    told_apart: float = field(default=0.0, kw_only=True)


def concepts(
    told: Told,
    layer: nn.Module,
    inputs: Tensor,
    classes: Tensor,
    examples: Mapping[str, Tensor],
    pool: Tensor,
    test: ConceptTest | None = None,
) -> list[Pushed]:
    """Return the influence of each concept on each class.

    Args:
        told: The explained quantity, such as `evidence(model)`.
        layer: A module of the model; concepts are directions in its output.
        inputs: Samples of the classes, ``(n, ...)``.
        classes: The class of each sample, ``(n,)``.
        examples: Examples by the concept's name, ``(m, ...)`` each.
        pool: Inputs from which random examples are drawn, ``(m, ...)``.
        test: Settings of the test.

    Raises:
        UserError: There are too few examples.
    """
    test = test or ConceptTest()
    few = [name for name, each in examples.items() if len(each) < 8]
    if not examples or few or len(pool) < 8:
        named = ", ".join(few) or f"{len(examples)} concepts, a pool of {len(pool)}"
        raise UserError(f"a concept needs at least 8 examples, and so does the pool: {named}")
    generator = torch.Generator().manual_seed(test.seed)
    slopes = _gradients(told, layer, inputs, classes)  # (n, features)
    background = _activations(told, layer, pool)
    controls = _controls(background, test, generator)  # (controls, features)
    by_chance = _scores(slopes, classes, controls)
    found = []
    for name, shown in examples.items():
        active = _activations(told, layer, shown)
        size = min(test.size, len(active) // 2)  # so that the sets differ in their examples
        fitted = [
            _vector(
                active[_drawn(len(active), size, generator)],
                background[_drawn(len(pool), size, generator)],
            )
            for _ in range(test.sets)
        ]
        vectors = torch.stack([vector for vector, _ in fitted])  # (sets, features)
        told_apart = float(np.mean([accuracy for _, accuracy in fitted]))
        for towards, scores in _scores(slopes, classes, vectors).items():
            chance = by_chance[towards]
            found.append(
                Pushed(
                    name, towards, float(scores.mean()), float(chance.mean()),
                    welch(scores, chance), told_apart=told_apart,
                )
            )  # fmt: skip
    passed = holm([each.p for each in found], test.level)
    return [
        Pushed(**(vars(each) | {"significant": ok})) for each, ok in zip(found, passed, strict=True)
    ]


def _controls(background: Tensor, test: ConceptTest, generator: torch.Generator) -> Tensor:
    """Return the vectors that separate random sets from other random sets, ``(controls,
    features)``.
    """
    size = min(test.size, len(background) // 2)
    vectors = []
    for _ in range(test.controls):
        drawn = _drawn(len(background), 2 * size, generator)  # the two sets are disjoint
        vectors.append(_vector(background[drawn[:size]], background[drawn[size:]])[0])
    return torch.stack(vectors)


def _drawn(count: int, most: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[:most]


def _vector(concept: Tensor, random: Tensor) -> tuple[Tensor, float]:
    """Return the unit vector from random examples to those of a concept, and the accuracy of this
    separation on a quarter of the examples, which the vector was not fitted to.
    """
    from sklearn.linear_model import LogisticRegression

    size = min(len(concept), len(random))
    concept, random = concept[:size], random[:size]
    scale = torch.cat([concept, random]).std().clamp_min(1e-12)
    held = max(1, size // 4)
    kept = torch.cat([concept[held:], random[held:]]) / scale
    others = torch.cat([concept[:held], random[:held]]) / scale
    labels = np.repeat([1, 0], size - held)
    model = LogisticRegression(max_iter=10_000).fit(kept.double().cpu().numpy(), labels)
    right = model.predict(others.double().cpu().numpy()) == np.repeat([1, 0], held)
    vector = torch.from_numpy(model.coef_[0]).to(concept)
    return vector / vector.norm().clamp_min(1e-12), float(right.mean())


def _scores(slopes: Tensor, classes: Tensor, vectors: Tensor) -> dict[int, np.ndarray]:
    """Return for each class the shares of its samples that each vector moves towards the class."""
    pushes = (slopes @ vectors.T > 0).double().cpu()  # (n, vectors)
    return {int(each): pushes[(classes == each).cpu()].mean(0).numpy() for each in classes.unique()}


def _activations(told: Told, layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return the output of a layer, ``(n, features)``."""
    from captum.attr import LayerActivation

    method = LayerActivation(told, layer)
    none = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    with torch.no_grad():
        parts = [
            method.attribute(x, additional_forward_args=(c,)).flatten(1)
            for x, c in zip(inputs.split(TOGETHER), none.split(TOGETHER), strict=True)
        ]
    return torch.cat(parts)


def _gradients(told: Told, layer: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of the evidence with respect to a layer's output, ``(n, features)``."""
    from captum.attr import LayerGradientXActivation

    method = LayerGradientXActivation(told, layer, multiply_by_inputs=False)
    parts = [
        method.attribute(x, additional_forward_args=(c,)).flatten(1).detach()
        for x, c in zip(inputs.split(TOGETHER), classes.split(TOGETHER), strict=True)
    ]
    return torch.cat(parts)


def welch(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of a two-sided Welch t-test; 0 or 1 if neither sample has any spread.

    scipy's version warns if a sample has no spread, which is frequent with scores of 0 and 1.
    """
    from scipy.stats import t

    a, b = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    gap = abs(float(first.mean() - second.mean()))
    if a + b < 1e-24:
        return float(gap < 1e-12)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return float(2 * t.sf(gap / (a + b) ** 0.5, freedom))


def holm(values: Sequence[float], level: float) -> list[bool]:
    """Return which p-values are significant together (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    passed = [False] * len(values)
    for place, i in enumerate(order):
        if values[i] > level / (len(values) - place):
            break
        passed[i] = True
    return passed
