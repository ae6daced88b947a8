"""Growing comparisons: rules, their projections and seeds are added to those of a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from beyondprop.experiment.linear import LINEAR
from beyondprop.experiment.plan import ComparePlan
from beyondprop.experiment.spec import CompareSpec
from beyondprop.experiment.storage import NOT_COMPARED, read_spec
from beyondprop.files import finite
from beyondprop.registry import Spec, file_name, label, read
from beyondprop.rules import RULES

GROWS = ("rules", "seeds")
"""Fields of a comparison that `--resume` can extend; all others are fixed."""


def own_name(spec: CompareSpec, command: str = "compare") -> str:
    """Return the default name of a comparison's folder, from the settings that can't change."""
    open_fields = (*GROWS, "projections", *NOT_COMPARED)
    fixed = {k: v for k, v in asdict(spec).items() if k not in open_fields}
    return folder_name(command, spec.task, fixed)


def folder_name(command: str, task: Spec, fixed: Mapping[str, Any]) -> str:
    """Return the name of a folder: the command, the task, and a digest of the fixed settings."""
    digest = hashlib.sha256(json.dumps(finite(fixed), sort_keys=True).encode()).hexdigest()
    return f"{command}-{file_name(label(task))}-{digest[:8]}"


def expanded(spec: CompareSpec) -> CompareSpec:
    """Return the spec with its projections merged into its rules.

    Raises:
        UserError: A rule is unknown.
    """
    if spec.projections is None:
        return spec
    rules = through(spec.rules_or_default, spec.projections)
    return replace(spec, rules=rules, projections=None)


def through(rules: Sequence[Spec], projections: Sequence[Spec]) -> tuple[Spec, ...]:
    """Return each rule that has a projection with every one of these, and the others unchanged."""
    found: dict[str, Spec] = {}
    for rule in rules:
        name, arguments = read(rule, RULES.kind, RULES.key)
        own = {RULES.key: name} | dict(arguments)
        ways: list[Spec] = [rule]
        if "projection" in RULES.arguments(name):
            ways = [own | {"projection": projection} for projection in projections]
        found |= {label(way): way for way in ways}
    return tuple(found.values())


def grown(spec: CompareSpec, folder: Path) -> CompareSpec:
    """Return the spec with the folder's rules and seeds before its own.

    Projections without rules apply to the folder's rules.

    Raises:
        UserError: The folder's spec cannot be read, or the two are not compatible.
    """
    earlier = read_spec(folder)
    if earlier is None or any(not isinstance(earlier.get(field), list) for field in GROWS):
        return expanded(spec)  # not a comparison's folder: the check of its claim reports that
    more = spec.rules or ()
    if spec.projections is not None:
        more = through(spec.rules or earlier["rules"], spec.projections)
    rules = {label(rule): rule for rule in (*earlier["rules"], *more)}
    seeds = dict.fromkeys((*earlier["seeds"], *(spec.seeds or ())))
    return replace(spec, rules=tuple(rules.values()), seeds=tuple(seeds), projections=None)


def added(spec: CompareSpec, folder: Path) -> str:
    """Return a sentence on what a grown spec adds to the folder's comparison; "" for nothing."""
    earlier = read_spec(folder) or {}
    before = {label(each) for field in GROWS for each in earlier.get(field, [])}
    rules = [label(rule) for rule in spec.rules_or_default if label(rule) not in before]
    seeds = [str(seed) for seed in spec.seeds_or_default if str(seed) not in before]
    if not earlier or not rules + seeds:
        return ""
    named = {"rules": rules, "seeds": seeds}
    parts = [f"{field} {', '.join(more)}" for field, more in named.items() if more]
    return f"added to {folder}: {' and '.join(parts)}"


def complete(comparison: Mapping[str, Any], plan: ComparePlan) -> bool:
    """Whether a comparison has every run of a plan, none of them failed."""
    runs = comparison["runs"]
    over = {(run["rule"]["name"], run["seed"]) for run in runs if run["rule"]["name"] != LINEAR}
    wanted = {(name, seed) for name in plan.names for seed in plan.seeds}
    return over == wanted and all(run["status"] != "failed" for run in runs)
