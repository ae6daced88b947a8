"""The tables of README, docs and results/, made from the records, and the settings of comparisons.

    python -m benchmarks.pages.tables

A pair of comments marks where a table is: `<!-- table NAME -->` and `<!-- end -->`. NAME is one of
`MADE`, or `compare TASK`, `verdict TASK`, `by-optimizer TASK`, `by-block TASK RULE`,
`published NAME`, `rule RULE`, `architectures`, `below-frozen [TASKS]`, `scaling STUDY`,
`scaling-light STUDY`, `distilled NAME`, `modalities NAME`, `modalities-verdict [NAMES]`,
`modalities-trust NAME`, `modalities-missing NAME`, `audited NAME`, `audit-answers NAME`,
`audit-forgotten`, `audit-time NAME`, `outcomes`, `claim NAME`, `step-time [RULES]`,
`records [TOPIC]`. A test compares the pages with the records, so no figure and no finding of a
comparison is written by hand.
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any

from benchmarks.audit import tables as audits
from benchmarks.audit import through_feedback
from benchmarks.common import beside_plain
from benchmarks.common.records import RESULTS, ROOT, load
from benchmarks.common.tables import Cells, markdown
from benchmarks.comparisons import architectures as by_network
from benchmarks.comparisons import tables as comparisons
from benchmarks.comparisons import words
from benchmarks.comparisons.published import STUDIES
from benchmarks.faults import tables as faults
from benchmarks.graphs import tables as graphs
from benchmarks.jobs import tables as jobs
from benchmarks.memory import tables as memory
from benchmarks.modalities import tables as modalities
from benchmarks.modalities import workers as modalities_workers
from benchmarks.models import tables as models
from benchmarks.neighbourhoods import tables as neighbourhoods
from benchmarks.neighbourhoods import workers as neighbourhoods_workers
from benchmarks.optics import tables as optics
from benchmarks.pages import claims, index
from benchmarks.pages.outcomes import outcomes
from benchmarks.pages.recipes import recipes
from benchmarks.peers import tables as peers
from benchmarks.projections import tables as projections
from benchmarks.random_features import tables as random_features
from benchmarks.scaling import light
from benchmarks.scaling import tables as scaling
from benchmarks.schedules import tables as schedules
from benchmarks.slots import tables as slots
from benchmarks.step_time import tables as times

PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("results/**/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
MARK = re.compile(r"(<!-- table (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
TASKS = (
    "fashion-small",
    "digits-mlp",
    "digits-conv",
    "mnist-mlp",
    "fashion-mlp",
    "cifar-conv",
    "cifar-resnet20-short",
)
"""The first comparisons on a rule's page, in order; all others follow by name."""

ARCHITECTURES = {
    "GCN, Cora": "cora-gcn",
    "ChebNet, Cora": "cora-cheb",
    "GAT, Cora": "cora-gat",
    "SAGE, Cora": "cora-sage",
    "SplineConv, Cora": "cora-spline",
    "DeepFM, MovieLens": "movielens-deepfm",
    "Deep & Cross, MovieLens": "movielens-dcn",
    "AutoInt, MovieLens": "movielens-autoint",
    "AFN, MovieLens": "movielens-afn",
    "decoder, pre-LN, macro": "shakespeare-pre-macro",
    "decoder, pre-LN, micro": "shakespeare-pre-micro",
    "decoder, post-LN, macro": "shakespeare-post-macro",
    "decoder, post-LN, micro": "shakespeare-post-micro",
    "decoder of 6 × 256, post-LN, macro": "shakespeare-6x256",
    "NeRF": "views-scene",
    "LeNet, CIFAR-10": "cifar-conv",
    "ResNet-20, CIFAR-10": "cifar-resnet20-short",
    "VGG8b, narrow, CIFAR-10": "cifar-vgg8-short",
    "ViT, Fashion-MNIST 14 × 14": "fashion-small-vit",
}
"""The rows of the table of networks with their comparisons; those without a record are left out."""
ALONE = {"movielens-deepfm", "movielens-dcn", "movielens-autoint", "movielens-afn"}
"""Comparisons in which a factorisation machine alone replaces the linear model."""
MACHINE = "movielens-fm"

OPTIMIZERS = ("sgd", "adam")
"""Suffixes of the names of records that use a single optimizer."""

MADE: dict[str, tuple[str, Callable[[list[dict[str, Any]]], Cells]]] = {
    "audit minima": ("audit/minima", audits.minima),
    "audit through feedback": (
        "audit/through_feedback",
        partial(audits.through_feedback, levels=through_feedback.LEVELS),
    ),
    "audit forgetting": ("audit/forgetting", audits.forgetting),
    "faults": ("faults/attacks", faults.counts),
    "faults bounds": ("faults/attacks", faults.bounds),
    "jobs": ("jobs/scaling", jobs.gain),
    "memory": ("memory/rules", memory.rules),
    "depth": ("memory/depth", memory.depth),
    "models": ("models/coverage", models.coverage),
    "models calls": ("models/coverage", models.calls),
    "models counted": ("models/coverage", models.counted),
    "models refused": ("models/coverage", models.refused),
    "models trainer": ("models/trainer", models.trainer),
    "by hand": ("step_time/by_hand", times.by_hand),
    "peers": ("peers/step_time", peers.step_time),
    "pipeline": ("schedules/pipeline", schedules.pipeline),
    "slots cost": ("slots/cost", slots.cost),
    "slots accuracy mnist": ("slots/accuracy-mnist", slots.accuracy),
    "slots accuracy cifar": ("slots/accuracy-cifar", slots.accuracy),
    "slots tasks": ("slots/continual", slots.tasks),
    "projections wide": ("projections/timing", projections.wide),
    "projections sizes": ("projections/timing", projections.sizes),
    "projections by-size": ("projections/timing-wide", projections.by_size),
    "projections errors": ("projections/many_classes", projections.errors),
    "projections statistics": ("projections/statistics", projections.statistics),
    "optics accuracy": ("optics/accuracy", optics.accuracy),
    "optics short": ("optics/accuracy", optics.short),
    "optics theory": ("optics/theory", optics.theory),
    "optics cost": ("optics/cost", optics.cost),
    "graphs signals": ("graphs/signals", graphs.signals),
    "neighbourhoods memory": ("neighbourhoods/memory", neighbourhoods.memory),
    "modalities workers": (
        "modalities/workers",
        partial(beside_plain.cells, library=modalities_workers.LIBRARY),
    ),
    "neighbourhoods workers": (
        "neighbourhoods/workers",
        partial(beside_plain.cells, library=neighbourhoods_workers.LIBRARY),
    ),
    "neighbourhoods wall time": (
        "neighbourhoods/wall_time",
        partial(neighbourhoods.wall_time, jobs=2),
    ),
    "neighbourhoods noise": ("neighbourhoods/noise", neighbourhoods.noise),
    "neighbourhoods rules": ("neighbourhoods/rules", neighbourhoods.by_rule),
    "features kernel": ("random_features/evaluation", random_features.kernel),
    "features ridge": ("random_features/evaluation", random_features.ridge),
    "features defence": ("random_features/evaluation", random_features.defence),
}
"""The record of a table, and the function that makes the table from its rows."""

NAMES = {
    "audit minima": 2,
    "audit through feedback": 2,
    "audit forgetting": 3,
    "graphs signals": 3,
    "neighbourhoods noise": 2,
    "neighbourhoods wall time": 2,
    "models": 2,
    "models calls": 2,
    "models refused": 3,
    "models trainer": 2,
}
"""The number of columns of a table, from the first, that are words; one by default."""


def main() -> None:
    """Rewrite the tables of every page, and the settings next to comparisons."""
    for file, text in recipes().items():
        file.write_text(text, "utf-8")
    for page in PAGES:
        page.write_text(filled(page.read_text("utf-8")), "utf-8")


def filled(text: str) -> str:
    """Return a page's text with its tables made from the records."""
    return MARK.sub(lambda found: f"{found[1]}\n{table(found[2])}\n\n{found[3]}", text)


def table(name: str) -> str:
    """Return the table with this name as Markdown."""
    if name in MADE:
        record, make = MADE[name]
        return markdown(*make(load(record)["rows"]), names=NAMES.get(name, 1))
    kind, *rest = name.split()
    return MAKERS[kind](*rest)


def compare(task: str) -> str:
    """Return a comparison, one row per rule, and how it was made."""
    record = comparison(task)
    return f"{markdown(*comparisons.compare(record))}\n\n{words.made(record)}"


def verdict(task: str) -> str:
    """Return the findings of a comparison in sentences."""
    return words.verdict(comparison(task))


def by_optimizer(task: str) -> str:
    """Return the results of each rule with each optimizer: the best of the longest trials, and the
    test scores if the comparison was also made with each optimizer alone.
    """
    apart = {f"{end}, test": f"{task}-{end}" for end in OPTIMIZERS if f"{task}-{end}" in recorded()}
    parts = [words.by_optimizer(comparison(task))]
    if cells := comparisons.by_optimizer(comparison(task)):
        parts.append(markdown(*cells))
    if apart:
        made = {head: comparison(name) for head, name in apart.items()}
        parts += [words.APART, markdown(*comparisons.side_by_side(made))]
    return "\n\n".join(parts)


def published(name: str) -> str:
    """Return published results: for each study its source, its setting and a table."""
    return "\n\n".join(
        f"{study.source}. {study.setting}\n\n{markdown(*study.cells())}" for study in STUDIES[name]
    )


def by_block(task: str, own: str) -> str:
    """Return the alignment of a rule's update with the gradient for each block of a model."""
    return markdown(*comparisons.by_block(own, comparison(task)))


def rule(name: str) -> str:
    """Return the results of a rule, one row per task, and the meaning of marks."""
    records = {task: comparison(task) for task in recorded()}
    cells = comparisons.rule(name, records)
    return f"{markdown(*cells)}\n\n{words.ages(records, name)}"


def networks(tasks: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the recorded comparisons of networks, by their names in tables."""
    made = set(recorded())
    return {
        name: comparison(task)
        for name, task in ARCHITECTURES.items()
        if task in made and task in tasks
    }


def architectures() -> str:
    """Return the table of networks."""
    alone = {}
    if MACHINE in recorded():
        machine = comparison(MACHINE)
        alone = {name: machine for name, task in ARCHITECTURES.items() if task in ALONE}
    found = networks(ARCHITECTURES.values())
    table = markdown(*by_network.table(found, alone), names=2)
    return f"{table}\n\n{words.legend(found)}"


def below_frozen(*tasks: str) -> str:
    """Return which rules are below frozen, network by network; for all networks or those named.

    A comparison without a record is left out.
    """
    return by_network.below_frozen(networks(tasks or ARCHITECTURES.values()))


def study(name: str) -> str:
    """Return the findings of a scaling study, with its laws along each axis."""
    record = load(f"scaling/{name}")
    laws = [markdown(*scaling.laws(record, axis)) for axis in scaling.axes(record)]
    return "\n\n".join([scaling.told(record), *laws])


def distilled(name: str) -> str:
    """Return the findings of a distillation piece by piece, with the results of each method."""
    record = load(f"neighbourhoods/{name}")
    return f"{neighbourhoods.told(record)}\n\n{markdown(*neighbourhoods.distilled(record))}"


def of_modalities(name: str) -> str:
    """Return the findings of a comparison of methods for several modalities, with their results.

    If there is no record yet, a sentence says so.
    """
    if name not in recorded_modalities():
        return modalities.NOTHING
    record = load(f"modalities/{name}")
    table = markdown(*modalities.methods(record))
    return "\n\n".join([modalities.verdict([record]), table, modalities.notes(record)])


def modalities_trust(name: str) -> str:
    """Return the weights of a comparison's fusions, if the informative modalities are known."""
    return of_recorded(name, modalities.trust)


def modalities_missing(name: str) -> str:
    """Return the scores of methods with missing modalities."""
    return of_recorded(name, modalities.missing, names=2)


def of_recorded(name: str, make: Callable[[dict[str, Any]], Cells], names: int = 1) -> str:
    """Return a table of a comparison of methods for several modalities, or that it is missing."""
    if name not in recorded_modalities():
        return modalities.NOTHING
    return markdown(*make(load(f"modalities/{name}")), names=names)


def modalities_verdict(*names: str) -> str:
    """Return the findings of comparisons of methods for several modalities, one sentence each.

    For all or for those named; one without a record is left out.
    """
    known = recorded_modalities()
    taken = [name for name in names or known if name in known]
    return modalities.verdict(load(f"modalities/{name}") for name in taken)


def recorded_modalities() -> list[str]:
    """Return the names of all comparisons of methods for several modalities."""
    names = sorted(path.stem for path in RESULTS.glob("modalities/*.json"))
    return [name for name in names if load(f"modalities/{name}").get("kind") == "modalities"]


def audit_answers(name: str) -> str:
    """Return the verdict of an audit on each question, or that there is no record of it."""
    return audits.answers(load(f"audit/{name}")) if has_audit(name) else audits.NOTHING


def audit_time(name: str) -> str:
    """Return the duration of an audit."""
    return audits.duration(load(f"audit/{name}")) if has_audit(name) else audits.NOTHING


def audit_forgotten() -> str:
    """Return the forgetting of each rule, or that there is no record of it."""
    if not has_audit("forgetting"):
        return audits.NOTHING
    return audits.forgotten(load("audit/forgetting")["rows"])


def audited(name: str) -> str:
    """Return the questions of an audit with its verdicts and all figures."""
    return audits.audited(load(f"audit/{name}")) if has_audit(name) else audits.NOTHING


def has_audit(name: str) -> bool:
    """Return whether an audit is recorded."""
    return (RESULTS / "audit" / f"{name}.json").exists()


def study_light(name: str) -> str:
    """Return from which size light would pay, by a study's laws."""
    record = load(f"scaling/{name}")
    return f"{light.break_even(record)}\n\n{markdown(*light.table(record))}"


def comparison(task: str) -> dict[str, Any]:
    """Return the record of a comparison; the same object each time."""
    return loaded(load, f"comparisons/{task}")


@lru_cache(maxsize=256)
def loaded(read: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any]:
    """Return a record from a function that reads it, only once."""
    return read(name)


def recorded() -> list[str]:
    """Return the names of all comparisons, in the order of rules' pages."""
    names = sorted(path.stem for path in RESULTS.glob("comparisons/*.json"))
    return sorted(names, key=lambda name: TASKS.index(name) if name in TASKS else len(TASKS))


def by_user() -> str:
    """Return the benefit for four kinds of users."""
    return markdown(*outcomes(load), names=3)


def claim(name: str) -> str:
    """Return the results of the records on a claim."""
    if name == "random-feedback":
        known = {
            "MLP, MNIST": "mnist-mlp",
            "MLP, Fashion-MNIST": "fashion-mlp",
            "MLP, small Fashion-MNIST": "fashion-small",
            **ARCHITECTURES,
        }
        there = {called: task for called, task in known.items() if task in recorded()}
        return claims.random_feedback(load, there)
    return claims.CLAIMS[name](load)


def step_time(*only: str) -> str:
    """Return step times relative to plain PyTorch, of all rules or of those named."""
    return markdown(*times.rules(load("step_time/rules")["rows"], only))


def records(*topic: str) -> str:
    """Return the index of all records, or of a topic's: one row per record."""
    return markdown(*index.records(*topic), names=4)


MAKERS: dict[str, Callable[..., str]] = {
    "compare": compare,
    "verdict": verdict,
    "by-optimizer": by_optimizer,
    "by-block": by_block,
    "published": published,
    "architectures": architectures,
    "below-frozen": below_frozen,
    "rule": rule,
    "audit-answers": audit_answers,
    "audit-forgotten": audit_forgotten,
    "audit-time": audit_time,
    "audited": audited,
    "distilled": distilled,
    "modalities": of_modalities,
    "modalities-verdict": modalities_verdict,
    "modalities-trust": modalities_trust,
    "modalities-missing": modalities_missing,
    "scaling": study,
    "scaling-light": study_light,
    "outcomes": by_user,
    "claim": claim,
    "step-time": step_time,
    "records": records,
}
"""The functions for the blocks whose names have several words."""


if __name__ == "__main__":
    main()
