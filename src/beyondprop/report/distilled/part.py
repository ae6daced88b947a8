"""The values for the template of a distillation."""

from __future__ import annotations

from typing import Any

from beyondprop.report.distilled import facts, headline, picture, students, summary, ways
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.figures import network


def distilled_part(found: Distillation, prefix: str) -> dict[str, Any]:
    """Return the template's values for one distillation.

    Args:
        found: The distillation.
        prefix: The id of its part of the page.
    """
    return {
        "template": "distillation.html.jinja",
        "prefix": prefix,
        "name": found.task.name,
        "headline": headline.headline(found),
        "summary": summary.summary(found),
        "way_headings": ways.way_headings(found),
        "ways": ways.way_lines(found),
        "way_caption": ways.way_caption(found),
        "pictures": network.network(found),
        "picture_caption": picture.caption(found),
        "student_headings": students.STUDENT_HEADINGS,
        "students": students.student_lines(found),
        "student_caption": students.student_caption(found),
        "absent": students.absent(found),
        "facts": facts.facts(found),
        "network_headings": (f"Test {found.task.metric}", *ways.NETWORK_HEADINGS),
        "networks": ways.network_lines(found),
    }
