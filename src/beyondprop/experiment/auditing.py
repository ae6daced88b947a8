"""An audit: every section asks every run, as independent jobs, and some ask two runs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop._torch.threads import threads_set
from beyondprop.audit import SECTIONS, Section
from beyondprop.audit.base import check_installed
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms, sessions
from beyondprop.experiment.audit_runs import Trained, found
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.growing import folder_name
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.storage import SPEC, claimed
from beyondprop.files import finite, write_json
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places, values
from beyondprop.jobs.progress import bars
from beyondprop.registry import Spec, file_name, label

AUDIT = "audit.json"
SCHEMA = 1
BACKPROP = "backprop"


@dataclass(frozen=True)
class Question:
    """A section that asks one run, or two.

    Attributes:
        section: Its spec.
        runs: One, or two that stand beside one another.
        spec: Of the audit.
        folder: Of all answers.
    """

    section: Spec
    runs: tuple[Trained, ...]
    spec: AuditSpec
    folder: Path

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{label(self.section)}: {' beside '.join(run.name for run in self.runs)}"

    @property
    def path(self) -> Path:
        """The file that keeps the answer."""
        return self.folder / "answers" / f"{file_name(self.name)}.json"

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the answer."""
        return dict(finite({"section": self.section, "weights": [run.digest for run in self.runs]}))

    def earlier(self) -> dict[str, Any] | None:
        """Return what an earlier call has found; a section that failed is asked again."""
        kept = forms.read_kept(self.path, "answer", {}, self.asked)
        return None if kept is None or "failed" in kept else kept

    def work(self, progress: Progress) -> dict[str, Any]:
        """Ask; keep and return the answer, or why there is none."""
        section = SECTIONS.make(self.section)
        with threads_set(self.spec.threads), generators_kept():
            try:
                answer = self._answer(section, progress)
            except UserError as error:
                answer = {"failed": str(error)}
        made = finite({"asked": self.asked, "answer": answer})
        write_json(self.path, made)
        return dict(made["answer"])

    def _answer(self, section: Section, progress: Progress) -> dict[str, Any]:
        check_installed(section)
        models = [run.audited(self.spec.data) for run in self.runs]
        if len(models) == 1:
            return section.ask(models[0], progress)
        return section.beside(*models)


def audit(
    spec: AuditSpec,
    folders: Sequence[Path],
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Ask trained runs what the sections ask, and set them side by side.

    A section whose packages are missing, or that a model can't be asked, says why; the others run.

    Args:
        spec: Which sections.
        folders: Those of `beyondprop train` or `beyondprop compare`.
        output: The audit's folder.
        resume: Continue what the folder holds; sections and runs may be added.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who asks.

    Returns:
        The content of `audit.json`: for each run what each section says, and what is said of two
        runs.

    Raises:
        UserError: There is no such section, there are no runs, or the folder holds something else.
    """
    started, runs, sections = datetime.now(UTC), found(folders), sections_of(spec)
    given = finite(asdict(spec) | {"data": None if spec.data is None else "given"})
    given |= {"sections": [finite(each) for each in sections]}
    given |= {"runs": {run.name: run.digest for run in runs}}
    asked = [Question(each, (run,), spec, output) for run in runs for each in sections]
    two = [Question(each, pair, spec, output) for pair in pairs(runs) for each in beside(sections)]
    with (
        claimed(output, given, resume, ("sections", "runs")),
        threads_set(spec.threads),
        generators_kept(),
        progress or bars() as shown,
    ):
        write_json(output / SPEC, given)
        before = sessions.begin(output, session(started))
        with Executor(output, shown, places.find(workers, spec.threads)) as executor:
            answers = [values_of(executor, "sections", asked), values_of(executor, "beside", two)]
        record: dict[str, Any] = finite(
            {
                "schema": SCHEMA,
                "kind": "audit",
                "spec": given,
                "task": runs[0].record["task"],
                "sections": {
                    made.name: {
                        "question": made.question,
                        "columns": [asdict(column) for column in made.columns],
                    }
                    for made in map(SECTIONS.make, sections)
                },
                "runs": [of_run(run, asked, answers[0]) for run in runs],
                "beside": [
                    {
                        "section": SECTIONS.make(one.section).name,
                        "runs": [run.name for run in one.runs],
                    }
                    | found
                    for one, found in zip(two, answers[1], strict=True)
                    if found
                ],
                "provenance": provenance(started, before),
            }
        )
        write_json(output / AUDIT, record)
    return record


def own_name(folders: Sequence[Path]) -> str:
    """Return the name of a folder where none is given.

    Raises:
        UserError: There are no runs.
    """
    runs = found(folders)
    return folder_name("audit", runs[0].task, {run.name: run.digest for run in runs})


def values_of(executor: Executor, title: str, asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return the answer to each question."""
    if not asked:
        return []
    return values(executor.perform(title, [Job(q.name, q.work, q.earlier) for q in asked], line))


def line(answer: dict[str, Any]) -> str:
    """Return an answer in one line."""
    return str(answer.get("failed") or answer.get("verdict") or "answered")


def of_run(
    run: Trained, asked: Sequence[Question], answers: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return what is said of a run."""
    own = {
        SECTIONS.make(question.section).name: answer
        for question, answer in zip(asked, answers, strict=True)
        if question.runs == (run,)
    }
    return {
        "rule": run.rule,
        "seed": run.seed,
        "weights_sha256": run.digest,
        "score": run.record["test"]["score"],
        "answers": own,
    }


def sections_of(spec: AuditSpec) -> tuple[Spec, ...]:
    """Return the sections that are asked for.

    Raises:
        UserError: There is no such section, or one is named twice.
    """
    wanted = tuple(SECTIONS) if spec.sections is None else spec.sections
    names = [SECTIONS.make(each).name for each in wanted]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"the section '{twice[0]}' is named twice: name it once")
    return wanted


def beside(sections: Sequence[Spec]) -> Iterator[Spec]:
    """Yield the sections that have something to say of two runs."""
    for each in sections:
        if type(SECTIONS.make(each)).beside is not Section.beside:
            yield each


def pairs(runs: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """Return the runs that stand beside one another.

    Of each seed every rule beside backprop, and of each rule the first seed beside the second.
    """
    found = []
    for run in runs:
        base = [one for one in runs if one.seed == run.seed and one.rule == BACKPROP]
        found += [(run, one) for one in base if run.rule != BACKPROP]
    for rule in dict.fromkeys(run.rule for run in runs):
        own = [run for run in runs if run.rule == rule]
        found += [(own[0], own[1])] if len(own) > 1 else []
    return found
