"""Rendering a page: from records to one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.files import (
    write_bytes,
)
from beyondprop.measure import Description
from beyondprop.report import (
    classes,
    facts,
    headline,
    table,
    tuning,
)
from beyondprop.report.audited.part import audited_part
from beyondprop.report.audited.read import read_audit
from beyondprop.report.blocks import block_table, words
from beyondprop.report.collect import Collected, collect
from beyondprop.report.distilled.part import distilled_part
from beyondprop.report.distilled.read import read_distillation
from beyondprop.report.failures import failures
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.alignment import alignment_over_time
from beyondprop.report.figures.cost import score_against_cost
from beyondprop.report.figures.curves import learning_curves
from beyondprop.report.figures.panel import page_style
from beyondprop.report.figures.probe import learned_by_block
from beyondprop.report.figures.recovery import recovery
from beyondprop.report.figures.views import rendered_views
from beyondprop.report.modal.part import modal_part
from beyondprop.report.modal.read import read_modalities
from beyondprop.report.pages import environment
from beyondprop.report.read import read_comparison
from beyondprop.report.records import Comparison, Run
from beyondprop.report.rulebook import abouts, check_address, documentation, keys, known
from beyondprop.report.style import Style, styles
from beyondprop.report.text import (
    NOT_MEASURED,
    ScoreFormat,
    capital,
    listing,
    plural,
    rate,
    short_names,
)
from beyondprop.rules import RULES


def render(comparison: Mapping[str, Any]) -> str:
    """Return the report on one comparison as the text of an HTML page.

    The page is self-contained: it opens without a network and can be read without its script. The
    same record gives the same bytes.

    Args:
        comparison: The record that `beyondprop compare` writes as `comparison.json`.

    Raises:
        UserError: `comparison` is not such a record, or the `report` extra is not installed.
    """
    return _page(Collected((read_comparison(comparison),)))


def render_distillation(record: Mapping[str, Any]) -> str:
    """Return the report on one distillation as the text of an HTML page, as `render` does.

    Args:
        record: The record that `beyondprop distil` writes as `distillation.json`.

    Raises:
        UserError: `record` is not such a record, or the `report` extra is not installed.
    """
    return _page(Collected((), (read_distillation(record),)))


def render_modalities(record: Mapping[str, Any]) -> str:
    """Return the report on methods for several modalities as the text of an HTML page, as `render`
    does.

    Args:
        record: The record that `beyondprop modalities` writes as `modalities.json`.

    Raises:
        UserError: `record` is not such a record, or the `report` extra is not installed.
    """
    return _page(Collected((), (), (read_modalities(record),)))


def render_audit(record: Mapping[str, Any]) -> str:
    """Return the report on one audit as the text of an HTML page, as `render` does.

    Args:
        record: The record that `beyondprop audit` writes as `audit.json`.

    Raises:
        UserError: `record` is not such a record, or the `report` extra is not installed.
    """
    return _page(Collected((), (), (), (read_audit(record),)))


def write(folders: Sequence[Path], output: Path, docs: str | None = None) -> Path:
    """Write one HTML page on the records in `folders`, and return `output`.

    Args:
        folders: Folders that `beyondprop compare`, `beyondprop distil`, `beyondprop modalities`,
            `beyondprop audit` or `beyondprop train` wrote, or folders of them. Single runs are
            grouped by task.
        output: The HTML file; it is replaced atomically.
        docs: The address of the documentation's guides, for links to the pages of rules. Default:
            the address in the installed package, if there is one.

    Raises:
        UserError: No records, a damaged record, an unwritable output, an address that is none, or
            no `report` extra.
    """
    if not folders:
        raise UserError("a report needs at least one folder that holds records")
    if docs is not None:
        check_address(docs)
    page = _page(collect([Path(folder) for folder in folders]), docs)
    # A lone surrogate, legal in JSON, cannot be written as UTF-8.
    write_bytes(output, page.encode("utf-8", errors="replace"))
    return output


TERMS = {
    "comparison": ("terms", "Glossary"),
    "distillation": ("distillation-terms", "Glossary of distillation"),
    "modality comparison": ("modal-terms", "Glossary of modalities"),
    "audit": ("audit-terms", "Glossary of audits"),
}
"""The id and the title of the glossary for each kind of record."""


def _page(found: Collected, docs: str | None = None) -> str:
    comparisons = found.comparisons
    rules = [row.rule for comparison in comparisons for row in comparison.rows]
    runs = [run for comparison in comparisons for run in comparison.runs]
    rules += [run.rule for run in runs]
    rules += [rule for audit in found.audits for rule in audit.rules]
    with short_names(rules, RULES):
        return _rendered(found, styles(rules), runs, docs)


def _rendered(
    found: Collected, drawn: Mapping[str, Style], runs: Sequence[Run], docs: str | None
) -> str:
    template, comparisons = environment().get_template("page.html.jinja"), found.comparisons
    with page_style():
        compared = [_part(each, drawn, f"c{i}") for i, each in enumerate(comparisons)]
        modal = [modal_part(each, f"m{i}") for i, each in enumerate(found.modalities)]
        audited = [audited_part(each, drawn, f"a{i}") for i, each in enumerate(found.audits)]
    distilled = [distilled_part(each, f"d{i}") for i, each in enumerate(found.distillations)]
    kinds = {
        "comparison": len(compared),
        "distillation": len(distilled),
        "modality comparison": len(modal),
        "audit": len(audited),
    }
    return template.render(
        parts=compared + distilled + modal + audited,
        compared=compared,
        distilled=distilled,
        modal=modal,
        audited=audited,
        what=listing([plural(count, kind) for kind, count in kinds.items() if count]),
        joint=table.joint(comparisons),
        styles=drawn,
        about=abouts(drawn, runs),
        known=known(drawn, runs),
        docs=documentation() if docs is None else docs,
        terms_of=[TERMS[kind] for kind, count in kinds.items() if count],
        terms={m.title: m.about for comparison in comparisons for m in comparison.measures},
    )


PICTURES = {"alignment": alignment_over_time, "probe": learned_by_block, "views": rendered_views}
"""Functions that draw the figures of some measures; the others' figures are in tables."""


def exhibit(
    comparison: Comparison, measure: Description, drawn: Mapping[str, Style], prefix: str
) -> Exhibit | None:
    """Return what is shown of a measure in addition to its columns; None if there is nothing."""
    shown = None
    if measure.name in PICTURES:
        shown = PICTURES[measure.name](comparison, drawn, prefix)
    found, told = block_table(comparison, measure), words(comparison, measure)
    if shown is None and found is None and not told:
        absent = bool(measure.block_columns)
        return Exhibit(measure.title, missing=capital(f"{NOT_MEASURED}.")) if absent else None
    return replace(shown or Exhibit(measure.title), table=found, words=told)


def _part(comparison: Comparison, drawn: Mapping[str, Style], prefix: str) -> dict[str, Any]:
    """Return the template's values for one comparison."""
    exhibits: list[Exhibit | None] = [
        draw(comparison, drawn, prefix) for draw in (learning_curves, score_against_cost)
    ]
    exhibits += [exhibit(comparison, measure, drawn, prefix) for measure in comparison.measures]
    return {
        "template": "comparison.html.jinja",
        "prefix": prefix,
        "name": comparison.task.name,
        "comparison": comparison,
        "headline": headline.headline(comparison),
        "summary": headline.summary(comparison),
        "failures": failures(comparison),
        "recovery": recovery(comparison, drawn, prefix),
        "about": abouts(drawn, comparison.runs),
        "owners": keys(drawn),
        "scores": ScoreFormat.of(comparison.task),
        "styles": drawn,
        "headings": table.headings(comparison),
        "lines": table.lines(comparison),
        "caption": table.caption(comparison),
        "exhibits": [shown for shown in exhibits if shown is not None],
        "classes": classes.classes(comparison),
        "facts": facts.facts(comparison),
        "runs": table.run_lines(comparison),
        "rates": [rate(value) for value in tuning.rates(comparison)],
        "tuning": tuning.lines(comparison),
        "edge": tuning.edge(comparison),
        "searches": tuning.compute(comparison),
        "attached": facts.attached(comparison),
    }
