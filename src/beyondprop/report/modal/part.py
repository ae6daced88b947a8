"""The values for the template of a comparison of methods for several modalities."""

from __future__ import annotations

from typing import Any

from beyondprop.report.figures.attention import where_right
from beyondprop.report.figures.lone import losses
from beyondprop.report.figures.trusted import samples
from beyondprop.report.modal import facts, headline, lone, methods, parts, summary, trust
from beyondprop.report.modal.records import ModalComparison
from beyondprop.report.style import styles


def modal_part(found: ModalComparison, prefix: str) -> dict[str, Any]:
    """Return the template's values for one comparison.

    Args:
        found: The comparison.
        prefix: The id of its part of the page.
    """
    drawn = styles(found.modalities)
    return {
        "template": "modalities.html.jinja",
        "prefix": prefix,
        "name": found.task.name,
        "headline": headline.headline(found),
        "summary": summary.summary(found),
        "method_headings": methods.headings(found),
        "methods": methods.lines(found),
        "method_caption": methods.caption(found),
        "missing": parts.missing(found),
        "noise": parts.noise(found),
        "trust": trust_part(found),
        "where_right": where_right(found, drawn, prefix),
        "samples": samples(found, drawn, prefix),
        "lone_headings": lone.headings(found),
        "lone": lone.lines(found),
        "lone_caption": lone.caption(found),
        "losses": losses(found, drawn, prefix),
        "facts": facts.facts(found),
        "run_headings": (f"Test {found.task.metric}", *methods.RUN_HEADINGS),
        "runs": methods.run_lines(found),
    }


def trust_part(found: ModalComparison) -> dict[str, Any] | None:
    """Return the tables of the weights of fusions; None if no method's weights are known."""
    if not found.attentive:
        return None
    return {
        "choice_headings": trust.CHOICE_HEADINGS,
        "choices": trust.choices(found),
        "choice_caption": trust.choice_caption(found),
        "weight_headings": trust.weight_headings(found),
        "weights": trust.weights(found),
        "weight_caption": trust.weight_caption(found),
    }
