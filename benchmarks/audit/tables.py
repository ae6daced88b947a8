"""The tables of audits over rules, made from records."""

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from benchmarks.common.tables import Cells, markdown
from beyondprop.audit import SECTIONS
from beyondprop.experiment.statistics import paired
from beyondprop.report.audited import notes, verdicts
from beyondprop.report.audited.read import read_audit
from beyondprop.report.audited.records import Asked, Audit, title
from beyondprop.report.audited.table import table_of
from beyondprop.report.text import listing

MARK = " †"
NOTHING = "No audit of this is recorded yet."


def forgetting(rows: list[dict[str, Any]]) -> Cells:
    """Return the score at the end and the forgetting: one row per stream, rule and method."""
    lines = []
    for row in rows:
        runs, search = row["runs"], row["search"]
        known = "rows" in runs[0]
        lines.append(
            [
                row["stream"],
                row["rule"],
                row["method"],
                interval([run["average"] for run in runs]) + MARK * bool(search and search["edge"]),
                percent([run["learned"] for run in runs]) if known else "–",
                percent([run["forgetting"] for run in runs]) if known else "–",
                percent([run["floor"] for run in runs]) if known else "–",
                f"{statistics.mean(run['bits'] for run in runs) / 8e6:.2f}" if known else "–",
            ]
        )
    heads = ("stream", "rule", "method", "at the end", "as learned", "forgotten", "floor", "MB")
    return heads, lines


def forgetting_notes(rows: list[dict[str, Any]]) -> list[str]:
    """Return the notes below the table."""
    seeds = len(rows[0]["runs"])
    notes = [
        f"Accuracy on the test samples of all experiences, mean over {seeds} seeds; ± is half of "
        "Student's 95% interval.",
        "Class: pairs of classes in turn, without the pair's name at test; task: the same, with "
        "the name; domain: the same images with their pixels in other orders.",
        "Floor: the score of a model that knows only the last experience. All together: the rule "
        "learns all experiences at once. MB: the memory of a method in addition to the model; "
        "those that keep samples get that of the slot machines, at 32 bits a number.",
    ]
    if any(row["search"] and row["search"]["edge"] for row in rows):
        notes.append("†: the chosen learning rate, or strength, lies at the edge of those tried.")
    return notes


STREAMS = {
    "class": "Pairs of classes in turn, where the pair is unknown at test",
    "task": "The same pairs, known at test",
    "domain": "The same images with their pixels in other orders",
}


def forgotten(rows: list[dict[str, Any]]) -> str:
    """Return what rules forget, and the best method: one or two sentences per stream."""
    told = [
        f"{words}: {_forgotten([row for row in rows if row['stream'] == stream])}"
        for stream, words in STREAMS.items()
        if any(row["stream"] == stream for row in rows)
    ]
    return "- **What does it forget?** " + " ".join(told)


def _forgotten(rows: list[dict[str, Any]]) -> str:
    """Return the sentences on one stream."""
    scores = {(row["rule"], row["method"]): [run["average"] for run in row["runs"]] for row in rows}
    plain = [
        f"{interval(found)}% ({title(rule)})"
        for (rule, method), found in scores.items()
        if method == "plain"
    ]
    (first,) = (row for row in rows if (row["rule"], row["method"]) == ("backprop", "plain"))
    against = {
        method: found
        for (rule, method), found in scores.items()
        if rule == "backprop" and method not in ("plain", "slots", "all together")
    }
    best = max(against, key=lambda method: statistics.mean(against[method]))
    return (
        f"without a method, accuracy at the end is {listing(plain)}. A model that knows only the "
        f"last experience scores {percent([run['floor'] for run in first['runs']])}%, and backprop "
        f"on all at once {interval(scores['backprop', 'all together'])}%. Under backprop, slot "
        f"machines keep {interval(scores['backprop', 'slots'])}%, and the best of the other "
        f"methods by its mean, {best}, {interval(against[best])}%."
    )


def interval(scores: list[float]) -> str:
    """Return a mean in percent with half of its interval."""
    found = paired(scores) if len(scores) > 1 else None
    half = "" if found is None else f" ± {100 * (found.high - found.value):.1f}"
    return f"{100 * statistics.mean(scores):.1f}{half}"


def percent(scores: list[float]) -> str:
    """Return a mean in percent."""
    return f"{100 * statistics.mean(scores):.1f}"


def minima(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return how often each rule reaches a known minimum: one row per problem and rule."""
    heads = ("problem", "rule", "reached", "median loss", "lowest", "rate")
    return heads, [[row["problem"], row["way"], *_reached(row)] for row in rows]


def _reached(row: Mapping[str, Any]) -> list[str]:
    if "refused" in row:
        return ["refused", "–", "–", "–"]
    losses = [math.inf if each is None else each for each in row["losses"]]
    low, high = row["interval"]
    return [
        f"{row['share']:.0%} [{low:.0%}, {high:.0%}]",
        f"{statistics.median(losses):.1e}",
        f"{min(losses):.1e}",
        f"{row['rate']:g}" + MARK * row["edge"],
    ]


def through_feedback(rows: Sequence[Mapping[str, Any]], levels: Sequence[float]) -> Cells:
    """Return the accuracy under attack: two rows per rule, one for each attack on its weights."""
    lines = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == rule]
        for way, words in (("through", "the rule's graph"), ("exact", "exact gradients")):
            cells = [interval([row[way][place] for row in own]) for place in range(len(levels))]
            lines.append([rule, words, *cells])
    heads = (f"ε = {255 * level:.0f}/255" if level else "no attack" for level in levels)
    return ("rule", "attacked by", *heads), lines


def duration(record: dict[str, Any]) -> str:
    """Return the duration of an audit and its command, as Markdown."""
    made = record["provenance"]
    started, finished = (datetime.fromisoformat(made[key]) for key in ("started", "finished"))
    minutes = (finished - started).total_seconds() / 60
    cores = made["hardware"]["cores"]
    return f"`{made['command']}` took {minutes:.1f} minutes on {cores} cores."


def answers(record: dict[str, Any]) -> str:
    """Return the verdict of an audit on each question, one line each, as Markdown."""
    audit = read_audit(record)
    return "\n".join(f"- {_answer(audit, section)}" for section in audit.sections)


def audited(record: dict[str, Any]) -> str:
    """Return each question of an audit with its verdict and figures, as Markdown."""
    audit, parts = read_audit(record), []
    for section in audit.sections:
        parts.append(_answer(audit, section))
        if (table := table_of(audit, section)) is not None:
            cells = [[name, *figures] for _, name, figures in table.lines]
            parts += [markdown(("rule", *table.headings), cells), table.caption]
    return "\n\n".join(parts)


def _answer(audit: Audit, section: Asked) -> str:
    """Return a question, what was found, and what must be said with it."""
    beside = (*notes.warnings(audit, section.name), *notes.notes(audit, section.name))
    return " ".join((f"**{_question(section)}**", verdicts.line(audit, section), *beside))


def _question(section: Asked) -> str:
    """Return a section's question: its present wording, or the record's for an unknown section."""
    known = section.name in SECTIONS
    return SECTIONS.make(section.name).question if known else section.question
