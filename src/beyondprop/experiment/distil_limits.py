"""Limits set by budgets on a cost of the complete network, to which each piece contributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from beyondprop.experiment import forms
from beyondprop.experiment.distil_setting import Setting
from beyondprop.experiment.distil_spec import SECONDS
from beyondprop.files import read_json, write_json
from beyondprop.neighbourhoods import TEACHER, Assembly, Library, Options, options_of, search
from beyondprop.neighbourhoods.cost import cost_of, seconds_of

TIMES = "seconds.json"
"""File in a seed's folder with times measured once, so that a resumed search repeats its choice."""


@dataclass(frozen=True)
class Limited:
    """The options for each neighbourhood under a limit.

    Attributes:
        limit: Name of the limited cost.
        whole: That cost of the complete teacher.
        options: Options of every neighbourhood.
    """

    limit: str
    whole: float
    options: Options

    def within(self, budget: float, count: int) -> list[Assembly]:
        """Return the best assemblies within a share of the teacher's cost, the best first.

        Raises:
            UserError: No assembly is within the budget.
        """
        pieces = sum(of[TEACHER].costs[self.limit] for of in self.options.values())
        left = budget * self.whole - (self.whole - pieces)
        return search(self.options, {self.limit: max(0.0, left)}, count)


def limited(
    setting: Setting, library: Library, scores: Mapping[str, Mapping[str, float]], folder: Path
) -> Limited:
    """Return the options for each neighbourhood under the spec's limit.

    Args:
        setting: The seed's setting.
        library: The seed's students.
        scores: Score of each student.
        folder: The seed's folder, which stores measured times.
    """
    teacher, limit = setting.teacher, setting.spec.limit
    options = options_of(teacher, library, scores)
    if limit != SECONDS:
        whole = asdict(cost_of(teacher, setting.sample))[limit]
        return Limited(limit, float(whole), options)
    asked = {
        name: {each: one.record["weights_sha256"] for each, one in of.items()}
        for name, of in library.students.items()
    }
    pieces = {name: dict.fromkeys(of, float) for name, of in asked.items()}
    known = read_json(folder / TIMES, forms.MEND)
    if known is None or known.get("asked") != asked:
        known = {"asked": asked} | measured(setting, library, scores)
        write_json(folder / TIMES, known)
    forms.check(known, {"whole": float, "pieces": pieces}, folder / TIMES)
    timed = {
        name: {
            each: replace(one, costs={**one.costs, SECONDS: known["pieces"][name][each]})
            for each, one in of.items()
        }
        for name, of in options.items()
    }
    return Limited(limit, known["whole"], timed)


def measured(
    setting: Setting, library: Library, scores: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return the time of one sample in the teacher and in the options for its neighbourhoods."""
    teacher = setting.teacher
    options = options_of(teacher, library, scores, timed=True)
    return {
        "whole": seconds_of(teacher, setting.sample),
        "pieces": {
            name: {each: one.costs[SECONDS] for each, one in of.items()}
            for name, of in options.items()
        },
    }
