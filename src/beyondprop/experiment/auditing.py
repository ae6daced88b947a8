"""Audits: independent jobs that run every section on every run, and some on pairs of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich.progress import Progress

from beyondprop._torch.threads import threads_set
from beyondprop.audit import SECTIONS, Section
from beyondprop.audit.base import check_installed
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms, sessions
from beyondprop.experiment.audit_runs import Trained, found, of_usual_task
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.audit_table import at
from beyondprop.experiment.entry import entered
from beyondprop.experiment.growing import folder_name
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.setup import check_folder
from beyondprop.experiment.storage import SPEC, check_claim, occupied, read_spec
from beyondprop.files import finite, write_json
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places
from beyondprop.jobs.progress import bars
from beyondprop.registry import Spec, file_name, label

AUDIT = "audit.json"
SCHEMA = 1
BACKPROP = "backprop"
SAID = 100
"""Maximum length of an answer or a reason in the log; the record contains the full text."""


@dataclass(frozen=True)
class Answered:
    """An answer and its line in the log.

    Attributes:
        answer: The answer, as JSON values.
        line: The question with the answer's figures.
        section: Name of the section.
    """

    answer: dict[str, Any]
    line: str
    section: str


@dataclass(frozen=True)
class Question:
    """A section applied to one run, or to two.

    Attributes:
        section: The section's spec.
        runs: One run, or two runs to compare.
        spec: The audit's settings.
        folder: The folder of all answers.
    """

    section: Spec
    runs: tuple[Trained, ...]
    spec: AuditSpec
    folder: Path

    @property
    def name(self) -> str:
        """Display name."""
        return f"{label(self.section)}: {self.of}"

    @property
    def of(self) -> str:
        """Display name of the runs."""
        return " compared with ".join(run.name for run in self.runs)

    @property
    def path(self) -> Path:
        """The file that contains the answer."""
        runs = " beside ".join(run.name for run in self.runs)  # as in the folders of earlier audits
        return self.folder / "answers" / f"{file_name(f'{label(self.section)}: {runs}')}.json"

    @property
    def asked(self) -> dict[str, Any]:
        """The values that determine the answer."""
        return dict(finite({"section": self.section, "weights": [run.digest for run in self.runs]}))

    def earlier(self) -> Answered | None:
        """Return the answer of an earlier call; a section that failed runs again."""
        kept = forms.read_kept(self.path, "answer", {}, self.asked)
        return None if kept is None or "failed" in kept else self.answered(kept)

    def answered(self, answer: dict[str, Any]) -> Answered:
        """Return an answer with its line in the log."""
        return Answered(answer, self.line(answer), SECTIONS.make(self.section).name)

    def line(self, answer: dict[str, Any]) -> str:
        """Return a short line with the question and its figures, or why there are none."""
        section = SECTIONS.make(self.section)
        said = shorten(str(answer.get("failed") or brief(section, answer)), SAID, placeholder="…")
        return f"{section.name}: {self.of}: {said}"

    def work(self, progress: Progress) -> Answered:
        """Run the section; store and return the answer, or why there is none."""
        section = SECTIONS.make(self.section)
        with threads_set(self.spec.threads), generators_kept():
            try:
                answer = self._answer(section, progress)
            except UserError as error:
                answer = {"failed": str(error)}
        made = finite({"asked": self.asked, "answer": answer})
        write_json(self.path, made)
        return self.answered(dict(made["answer"]))

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
    """Audit trained runs by the sections, and compare the runs.

    A section reports why it has no answer if its packages are missing, it does not fit a model, or
    it fails. The other sections run.

    Args:
        spec: Settings of the audit.
        folders: Folders that `beyondprop train` or `beyondprop compare` wrote.
        output: The audit's folder.
        resume: Continue the audit in the folder. Its sections stay, and sections can be added or
            get other settings. The runs are only those of ``folders``.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that run the sections.

    Returns:
        The content of `audit.json`: the sections' answers for each run, and for pairs of runs.

    Raises:
        UserError: A section is unknown, there are no runs, or the folder contains something else.
    """
    spec, output, resume = entered(AuditSpec, spec, output, resume)
    check_folder(spec.data)
    with occupied(output):  # before anything in it is read: another process may add to it
        return made(spec, found(folders), output, resume, progress or bars(), workers)


def made(
    spec: AuditSpec,
    runs: Sequence[Trained],
    output: Path,
    resume: bool,
    progress: Progress,
    workers: Workers,
) -> dict[str, Any]:
    """Return an audit's record, made in a folder that this process has locked; see `audit`."""
    started = datetime.now(UTC)
    sections = sections_of(spec, earlier_sections(output) if resume else ())
    given = finite(asdict(spec) | {"data": None if spec.data is None else "given"})
    given |= {"sections": [finite(each) for each in sections]}
    given |= {"runs": {run.name: run.digest for run in runs}}
    asked = [Question(each, (run,), spec, output) for run in runs for each in sections]
    two = [Question(each, pair, spec, output) for pair in pairs(runs) for each in beside(sections)]
    check_claim(output, given, resume, ("sections", "runs"))
    with threads_set(spec.threads), generators_kept(), progress as shown:
        write_json(output / SPEC, given)
        before = sessions.begin(output, session(started))
        with Executor(output, shown, places.find(workers, spec.threads)) as executor:
            told = Told()
            answers = [
                answers_to(executor, "sections", asked, told),
                answers_to(executor, "beside", two, told),
            ]
        record: dict[str, Any] = finite(
            {
                "schema": SCHEMA,
                "kind": "audit",
                "spec": given,
                "task": of_usual_task(runs).record["task"],
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
    """Return the default name of an audit's folder.

    Raises:
        UserError: There are no runs.
    """
    runs = found(folders)
    return folder_name("audit", of_usual_task(runs).task, {run.name: run.digest for run in runs})


class Told:
    """Returns the lines of answers for the log: of equal reasons for no answer, only the first."""

    def __init__(self) -> None:
        self._reasons = set[tuple[str, str]]()

    def __call__(self, found: Answered) -> str:
        """Return the line of an answer; empty if its section has told its reason before."""
        if "failed" not in found.answer:
            return found.line
        reason = found.section, str(found.answer["failed"])
        if reason in self._reasons:
            return ""
        self._reasons.add(reason)
        return f"{found.line} (not repeated for other runs)"


def answers_to(
    executor: Executor, title: str, asked: Sequence[Question], told: Told
) -> list[dict[str, Any]]:
    """Return the answer to each question, or why the question failed.

    The reason of an unexpected failure is not stored in the folder, so the question is asked again.
    """
    if not asked:
        return []
    jobs = [Job(each.name, each.work, each.earlier) for each in asked]
    outcomes = executor.perform(title, jobs, told)
    return [
        {"failed": str(each.error)} if each.error is not None else each.value.answer
        for each in outcomes
    ]


def brief(section: Section, answer: dict[str, Any]) -> str:
    """Return a short text with the figures of an answer that tables show."""
    known = [(column, at(answer, column.key)) for column in section.columns]
    told = [f"{each.label} {each.text(value)}" for each, value in known if value is not None]
    return ", ".join(told) or "answered"


def of_run(
    run: Trained, asked: Sequence[Question], answers: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return a run's part of the record."""
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


def sections_of(spec: AuditSpec, earlier: Sequence[Spec] = ()) -> tuple[Spec, ...]:
    """Return the requested sections, after the earlier ones that are not among them.

    Raises:
        UserError: A section is unknown or named twice.
    """
    wanted = tuple(SECTIONS) if spec.sections is None else spec.sections
    names = [SECTIONS.make(each).name for each in wanted]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"the section '{twice[0]}' is named twice: name it once")
    kept = (each for each in earlier if SECTIONS.make(each).name not in names)
    return (*kept, *wanted)


def earlier_sections(folder: Path) -> list[Spec]:
    """Return the sections of a folder's audit; none if it contains something else."""
    found = (read_spec(folder) or {}).get("sections")
    return found if isinstance(found, list) else []


def beside(sections: Sequence[Spec]) -> Iterator[Spec]:
    """Yield the sections that compare two runs."""
    for each in sections:
        if type(SECTIONS.make(each)).beside is not Section.beside:
            yield each


def pairs(runs: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """Return the pairs of runs to compare.

    These are, for each seed, every rule with backprop, and for each rule, the first seed with the
    second.
    """
    found = []
    for run in runs:
        base = [one for one in runs if one.seed == run.seed and one.rule == BACKPROP]
        found += [(run, one) for one in base if run.rule != BACKPROP]
    for rule in dict.fromkeys(run.rule for run in runs):
        own = [run for run in runs if run.rule == rule]
        found += [(own[0], own[1])] if len(own) > 1 else []
    return found
