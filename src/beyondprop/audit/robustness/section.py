"""The audit section on robustness."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited, Section, classified, some
from beyondprop.audit.robustness.accuracy import is_right, masking, share, withstood
from beyondprop.audit.robustness.attacks.autoattack import AutoAttack
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.audit.robustness.attacks.pgd import Pgd
from beyondprop.audit.robustness.attacks.square import Square
from beyondprop.audit.robustness.corruptions import Corruption, corrupted, corruptions_of
from beyondprop.audit.robustness.ranges import Ranges
from beyondprop.engine.untouched import generators_kept
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, NotNegative, Positive
from beyondprop.shapes import taken_by


@dataclass(frozen=True)
class Robustness(Section):
    """Accuracy under attacks and under common corruptions.

    Attributes:
        samples: Number of test samples, drawn with the run's seed; all figures refer to these.
        epsilons: Values of ε for the curve, as shares of each feature's range.
        epsilon: Value of ε for AutoAttack and Square.
        pgd: The attack of the curve.
        autoattack: The strongest attack.
        square: The attack without gradients.
    """

    name: ClassVar[str] = "robustness"
    question: ClassVar[str] = "How easily is it fooled?"
    packages: ClassVar[tuple[str, ...]] = ("captum", "pyautoattack", "PIL")

    columns: ClassVar[tuple[Column, ...]] = (
        Column("withstood", "withstands", "accuracy under AutoAttack at one ε", ".3f"),
        Column("corrupted", "corrupted", "accuracy under common corruptions", ".3f"),
    )

    samples: Count = 500
    epsilons: tuple[NotNegative, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
    epsilon: Positive = 0.1
    pgd: Pgd = field(default_factory=Pgd)
    autoattack: AutoAttack = field(default_factory=AutoAttack)
    square: Square = field(default_factory=Square)

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the curve, the attacks at one ε, and the corruptions.

        Raises:
            UserError: The model is not a classifier, or its inputs are not real numbers.
        """
        classified(audited)
        asked = _Asked.of(audited, self.samples)
        epsilons = sorted({0.0, self.epsilon, *self.epsilons})
        kinds = corruptions_of(asked.inputs)
        shown = f"{audited.name} · seed {audited.seed} · robustness"
        with bar(progress, shown, len(epsilons) + len(kinds) + 2) as task:
            by_gradients, damage = {}, []
            for each in epsilons:
                by_gradients[each] = asked.withstood(self.pgd, each)
                progress.advance(task)
            without = asked.withstood(self.square, self.epsilon)
            progress.advance(task)
            strongest = asked.withstood(self.autoattack, self.epsilon)
            progress.advance(task)
            for kind in kinds:
                damage.append(asked.damaged(kind))
                progress.advance(task)
        attacks = (
            (self.pgd, by_gradients[self.epsilon]),
            (self.square, without),
            (self.autoattack, strongest),
        )
        answer = {
            "samples": len(asked.targets),
            "beyond_range": asked.beyond,
            "clean": share(by_gradients[0.0]),
            "curve": [{"epsilon": each, **share(found)} for each, found in by_gradients.items()],
            "epsilon": self.epsilon,
            "attacks": [{"name": attack.name, **share(found)} for attack, found in attacks],
            "masking": masking(by_gradients[self.epsilon], without),
            "corruptions": damage,
            "withstood": attacks[-1][1].double().mean().item(),
            "corrupted": _mean(damage),
        }
        return answer | {"verdict": verdict(answer)}


@dataclass(frozen=True)
class _Asked:
    """A model with the samples of the audit."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    ranges: Ranges
    seed: int

    @classmethod
    def of(cls, audited: Audited, samples: int) -> _Asked:
        inputs, targets = some(audited.data.test, samples, audited.seed).batch(slice(None))
        model = audited.build()
        ranges = Ranges.of(audited.data.train, taken_by([model]))
        return cls(model, inputs, targets, ranges, audited.seed)

    @property
    def beyond(self) -> int:
        """Number of samples with a feature outside its range."""
        return int(self.ranges.beyond(self.inputs).sum())

    def withstood(self, attack: Attack, epsilon: float) -> Tensor:
        """Return which samples withstand an attack, ``(n,)`` bool."""
        return withstood(
            self.model, self.inputs, self.targets, self.ranges, epsilon, attack, self.seed
        )

    def damaged(self, kind: Corruption) -> dict[str, Any]:
        """Return the accuracy under a corruption, for each strength."""
        found = []
        for strength in kind.strengths:
            inputs = corrupted(self.inputs, kind, strength, self.ranges, self.seed)
            with generators_kept([inputs.device]):
                right = is_right(self.model, inputs, self.targets)
            found.append({"strength": strength, **share(right)})
        return {"name": kind.name, "unit": kind.unit, "strengths": found}


def _mean(damage: list[dict[str, Any]]) -> float:
    """Return the mean accuracy over all corruptions and strengths."""
    found: list[float] = [each["accuracy"] for kind in damage for each in kind["strengths"]]
    return sum(found) / len(found)


def verdict(answer: Answer) -> str:
    """Return the result in one sentence, and a second one if gradients are masked."""
    strongest, clean = answer["attacks"][-1], answer["clean"]["accuracy"]
    low, high = strongest["interval"]
    said = (
        f"When an attack may change every feature by up to {answer['epsilon']:.3g} of its range, "
        f"accuracy on {answer['samples']} test samples is {strongest['accuracy']:.1%} (95 % "
        f"interval {low:.1%} to {high:.1%}; {strongest['name']}); without an attack it is "
        f"{clean:.1%}, and under common corruptions {answer['corrupted']:.1%}."
    )
    if not answer["masking"]["masked"]:
        return said
    return (
        f"{said} Masked gradients: only the attack without gradients fools "
        f"{answer['masking']['without']} samples, so gradient attacks overstate its robustness."
    )
