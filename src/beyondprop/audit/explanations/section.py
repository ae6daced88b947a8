"""The audit section on explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from rich.progress import Progress
from torch import Tensor

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.audit.explanations.attribution import Attribution, IntegratedGradients, Saliency
from beyondprop.audit.explanations.evidence import answers, evidence, explained
from beyondprop.audit.explanations.figures import mean_of, rounded
from beyondprop.audit.explanations.parts.attributions import attributions, stability
from beyondprop.audit.explanations.parts.concepts import pushes
from beyondprop.audit.explanations.parts.layers import layers
from beyondprop.audit.explanations.parts.together import together
from beyondprop.audit.explanations.shapley import BUDGET
from beyondprop.audit.explanations.spearman import agreement, chance
from beyondprop.audit.explanations.subject import Subject, subject_of
from beyondprop.audit.explanations.tcav import ConceptTest
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Limits, Positive

Two = Annotated[int, Limits(2)]


@dataclass(frozen=True, eq=False)
class Explanations(Section):
    """Attributions and their faithfulness, interactions of features, and concepts.

    Attributes:
        samples: Test samples for the attributions.
        layered: Number of these samples for which blocks are analysed.
        stable: Number of these samples for the stability of attributions.
        combined: Number of these samples for which interactions of regions are computed.
        pictured: Number of these samples that the answer shows individually.
        listed: Number of effects in the short list of each.
        image: Height and width of images that the task provides as vectors; None for other inputs.
        grid: Patches along each side of an image: ``grid * grid`` players.
        players: Maximum number of variables of a table; the least important are merged into one
            player.
        budget: Number of combinations of regions that are evaluated for each sample.
        draws: Random sets of regions that are hidden, for the infidelity.
        radius: Maximum change of the inputs for the stability, as a share of the standard deviation
            of all numbers of the inputs.
        moves: Changed inputs for each sample, for the stability.
        steps: Initial steps of integrated gradients; doubled for samples that are not complete.
        most_steps: Maximum number of steps.
        concepts: Your own concepts, name to inputs. By default the training samples of each class,
            for at most ten classes.
        pushed: Samples of each class for the test of concepts.
        test: Settings of the test of concepts.
    """

    name: ClassVar[str] = "explanations"
    question: ClassVar[str] = "Why does it give these answers, and which features act together?"
    packages: ClassVar[tuple[str, ...]] = ("captum", "shapiq", "sklearn", "scipy")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "better_than_random.integrated gradients.deletion.mean",
            "faithful",
            "how much faster the answer falls when integrated gradients order what is hidden than "
            "in random order (area under the deletion curve)",
            ".3f",
        ),
        Column(
            "interactions.from_pairs.mean",
            "from pairs",
            "share of an answer that comes from pairs of features (Shapley interactions)",
            ".2f",
        ),
    )
    samples: Two = 100
    layered: Count = 32
    stable: Count = 16
    combined: Count = 16
    pictured: Annotated[int, Limits(0)] = 4
    listed: Count = 5
    image: tuple[int, int] | None = None
    grid: Two = 4
    players: Two = 16
    budget: Count = BUDGET
    draws: Count = 50
    radius: Positive = 0.1
    moves: Count = 6
    steps: Count = 32
    most_steps: Count = 1024
    concepts: Mapping[str, Tensor] | None = None
    pushed: Count = 40
    test: ConceptTest = field(default_factory=ConceptTest)

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the explanation figures of a model; docs/audit.md describes them.

        Raises:
            UserError: The inputs are neither images nor tables, or the outputs are not classes.
        """
        subject = self._subject(audited)
        model = audited.build().to(subject.inputs.device)
        with bar(progress, "explanations", 5) as task, explained(model):
            classes = answers(model, subject.inputs)
            right = (classes == subject.targets).double().mean().item()
            answer: Answer = {"samples": len(classes), "right": rounded(right)}
            found, maps = attributions(
                model, subject, classes, self.steps, self.most_steps, self.draws
            )
            answer |= found
            progress.advance(task)
            first, few = subject.first(self.stable), classes[: self.stable]
            answer["sensitivity"] = stability(
                model, first, few, self.steps, self.radius, self.moves
            )
            progress.advance(task)
            first, few = subject.first(self.layered), classes[: self.layered]
            answer["layers"] = _or_reason(
                lambda: layers(model, audited, first, few, self.steps, self.most_steps)
            )
            progress.advance(task)
            answer["interactions"] = together(
                model,
                audited,
                subject.first(self.combined),
                classes[: self.combined],
                maps,
                progress,
                players=self.players,
                budget=self.budget,
                pictured=self.pictured,
                listed=self.listed,
            )
            progress.advance(task)
            answer["concepts"] = _or_reason(
                lambda: pushes(model, audited, self.concepts, self.pushed, self.test)
            )
            progress.advance(task)
        return answer | {"verdict": verdict(answer)}

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return whether two models give the same reasons for the true classes of the same samples:
        Spearman's rank correlation of their maps, compared with that of maps of different samples.

        Raises:
            UserError: As for `ask`; or the models' inputs differ in shape, or there is only one
                sample.
        """
        subject = self._subject(audited)
        x, targets, absent = subject.inputs, subject.targets, subject.absent
        theirs = other.data.test.batch(slice(0, 1))[0]
        if not isinstance(theirs, Tensor) or theirs.shape[1:] != x.shape[1:]:
            raise UserError(
                f"reasons are compared of the same inputs, and those of {audited.task.name} and "
                f"{other.task.name} have other shapes"
            )
        methods: tuple[Attribution, ...] = (IntegratedGradients(self.steps), Saliency())
        said, ranked = [], []
        for each in (audited, other):
            model = each.build().to(x.device)
            with explained(model):
                said.append(answers(model, x))
                told = evidence(model)
                maps = [method.maps(told, x, targets, absent) for method in methods]
                ranked.append([m.importance(own) for m, own in zip(methods, maps, strict=True)])
        found = {
            method.name: {
                "agreement": mean_of(agreement(first, second)),
                "chance": mean_of(chance(first, second)),
            }
            for method, first, second in zip(methods, *ranked, strict=True)
        }
        same = rounded((said[0] == said[1]).double().mean().item())
        mine = found[IntegratedGradients.name]
        return {
            "samples": len(x),
            "same_answer": same,
            "methods": found,
            "verdict": f"They give the same answer to {same:.0%} of {len(x)} samples. The rank "
            f"correlation of their attributions is {_figure(mine['agreement'])} "
            f"({_figure(mine['chance'])} between different samples).",
        }

    def _subject(self, audited: Audited) -> Subject:
        return subject_of(audited, self.samples, self.image, self.grid, 2 * self.grid)


def verdict(answer: Answer) -> str:
    """Return the section's answer in one sentence, with its figures."""
    found, pairs = answer["attribution"], answer["interactions"]["from_pairs"]
    mine, random = (found[name]["deletion"] for name in ("integrated gradients", "random"))
    held = answer["completeness"]["held"]
    effects = (
        "" if pairs["mean"] is None else f". Pairs account for {pairs['mean']:.0%} of the effects"
    )
    return (
        "The answer keeps a mean probability of "
        f"{_figure(mine)} when features are hidden in the order of integrated gradients, "
        f"{_figure(random)} in random order{effects}. Integrated gradients are complete to 1 % "
        f"for {held:.0%} of {answer['samples']} samples."
    )


def _figure(found: Mapping[str, Any]) -> str:
    mean, interval = found["mean"], found["interval"]
    if mean is None:
        return "unknown"
    return f"{mean:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _or_reason(part: Callable[[], Answer]) -> Answer:
    """Return the answer of a part, or the reason why it has none, so that other parts still run."""
    try:
        return part()
    except UserError as error:
        return {"reason": str(error)}
