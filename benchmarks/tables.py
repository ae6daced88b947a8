"""The tables of README, docs and results/README.md, made from the records in results/.

    python benchmarks/tables.py

A page says where a table stands by a pair of comments: `<!-- table NAME -->` and `<!-- end -->`.
NAMES: `compare TASK`, `rule RULE`, `step-time [RULES]`, `memory`, `peers`, `depth`, `pipeline`,
`slots cost`, `slots accuracy SET`, `slots tasks`, `projections wide`, `projections sizes`,
`projections errors`, `projections statistics`, `optics accuracy`, `optics short`, `optics theory`,
`optics cost`, `features kernel`, `features ridge`, `features defence`. A test keeps the pages and
records in step, so that no figure is written by hand.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optics_tables
import projections_tables
import random_features_tables
import slots_tables
from nets import CHAIN_STEP
from results import number

from beyondprop.rules import RULES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "results/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
MARK = re.compile(r"(<!-- table (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
PEER_RULES = ("fa", "dfa", "usf")
TASKS = (
    "digits-mlp",
    "digits-conv",
    "mnist-mlp",
    "fashion-mlp",
    "cifar-conv",
    "cifar-resnet20-short",
    "digits-mlp-local",
    "cifar-vgg8-narrow",
    "cifar-vgg8-modules",
    "mnist-goodness",
    "digits-slots",
)


def main() -> None:
    """Write every page's tables anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text("utf-8")), "utf-8")


def filled(text: str) -> str:
    """Return a page's text with its tables made from the records."""
    return MARK.sub(lambda found: f"{found[1]}\n{table(found[2])}\n\n{found[3]}", text)


def table(name: str) -> str:
    """Return the table of that name."""
    kind, *rest = name.split()
    makers = {
        "compare": compare,
        "rule": rule,
        "step-time": step_time,
        "memory": memory,
        "peers": peers,
        "depth": depth,
        "pipeline": pipeline,
        "slots": slots,
        "projections": projections,
        "optics": optics,
        "features": features,
    }
    return makers[kind](*rest)


def compare(task: str) -> str:
    """Return a comparison: one row a rule."""
    record = load(f"compare-{task}")
    rows = [
        [
            row["rule"],
            with_spread(row["score_mean"], row["score_std"]),
            number(row["recovery"], ".0%"),
            number(row["alignment"], ".2f"),
            number(row["step_ratio"], ".2f"),
            number(row["memory_ratio"], ".2f"),
            f"{row['finished']} of {row['runs']}",
        ]
        for row in record["rows"]
    ]
    metric = f"test {record['task']['metric']}"
    heads = ("rule", metric, "recovery", "alignment", "step time", "peak memory", "runs finished")
    return markdown(heads, rows)


def with_spread(mean: float | None, deviation: float | None) -> str:
    """Return a score with its spread over the seeds, or a dash where no run finished."""
    return "–" if mean is None else f"{mean:.2%} ± {number(deviation and 100 * deviation, '.2f')}"


def rule(name: str) -> str:
    """Return what a rule reaches on every task, between the two controls."""
    rows = []
    for task in TASKS:
        found = {row["rule"]: row for row in load(f"compare-{task}")["rows"]}
        if name not in found:  # the record was made for fewer rules
            continue
        low, middle, high = (found[r]["score_mean"] for r in ("frozen", name, "backprop"))
        scores = [number(score, ".2%") for score in (low, middle, high)]
        if name in ("backprop", "frozen"):
            rows.append([task, scores[0], scores[2], number(saved(low, high), ".0%")])
            continue
        recovery, alignment = found[name]["recovery"], found[name]["alignment"]
        rows.append([task, *scores, number(recovery, ".0%"), number(alignment, ".2f")])
    heads = ("task", "frozen", f"**{name}**", "backprop", "recovery", "alignment")
    if name in ("backprop", "frozen"):
        heads = ("task", "frozen", "backprop", "share of errors that teaching hidden layers saves")
    return markdown(heads, rows)


def saved(frozen: float | None, backprop: float | None) -> float | None:
    """Return the share of the first accuracy's errors that the second saves, if there are any."""
    if frozen is None or backprop is None or frozen >= 1:
        return None
    return (backprop - frozen) / (1 - frozen)


def step_time(*only: str) -> str:
    """Return step times relative to plain PyTorch: one row a network, one column a rule."""
    rows = load("step_time")["rows"]
    shown = {*only, CHAIN_STEP} if only else {row["rule"] for row in rows}
    return pivot([row for row in rows if row["rule"] in shown], "ratio", limit="flop_limit")


def memory() -> str:
    """Return peak memory relative to plain PyTorch: one row a network, one column a rule."""
    return pivot(load("memory")["rows"], "resident_ratio")


def peers() -> str:
    """Return step times beside a peer's, relative to plain PyTorch: one row a network."""
    rows = load("peers")["rows"]
    found = {(row["net"], row["library"], row["rule"]): row for row in rows}
    libraries = ("BioTorch", "BeyondProp")
    pairs = [(library, rule) for rule in PEER_RULES for library in libraries]
    lines = []
    for net in dict.fromkeys(row["net"] for row in rows):
        plain = found[net, "plain PyTorch", "backprop"]
        timed = [found[net, library, rule] for library, rule in pairs]
        ratios = ["failed" if "failure" in row else number(row["ratio"], ".2f") for row in timed]
        lines.append([net, number(plain["seconds"] * 1000, ".2f"), *ratios])
    heads = [f"{rule}, {library}" for library, rule in pairs]
    return markdown(("network", "plain PyTorch, ms", *heads), lines)


def depth() -> str:
    """Return memory by depth: one row for each way, with its time relative to backprop's."""
    rows = load("depth")["rows"]
    found = {(row["way"], row["depth"]): row for row in rows}
    depths = sorted({row["depth"] for row in rows})
    lines = []
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [number(found[way, d]["bytes"] / 1e6, ".0f") for d in depths]
        least, most = found[way, depths[0]], found[way, depths[-1]]
        growth = number(most["bytes"] / least["bytes"], ".2f")
        share = number(most["memory_ratio"], ".3f")
        lines.append([way, *cells, growth, share, number(most["time_ratio"], ".2f")])
    heads = [f"MB at {d}" for d in depths]
    ends = f"{depths[-1]} / {depths[0]}", "/ backprop", "time / backprop"
    return markdown(("", *heads, *ends), lines)


def pipeline() -> str:
    """Return the throughput of two processes relative to one: one row a training."""
    rows = load("pipeline")["rows"]
    lines = [
        [
            row["net"],
            row["training"],
            str(row["chunks"]),
            number(row["samples_per_second_one"], ",.0f"),
            number(row["samples_per_second_two"], ",.0f"),
            number(row["ratio"], ".2f"),
        ]
        for row in rows
    ]
    heads = ("network", "training", "chunks", "samples/s, one process", "two", "ratio")
    return markdown(heads, lines)


def slots(record: str, *rest: str) -> str:
    """Return a table of slot machines: `slots cost`, `slots accuracy SET` or `slots tasks`."""
    name = {"cost": "slots", "accuracy": "slots_accuracy", "tasks": "slots_tasks"}[record]
    rows = load("-".join((name, *rest)))["rows"]
    return markdown(*getattr(slots_tables, record)(rows))


def projections(which: str) -> str:
    """Return a table of projections: `projections wide`, `... sizes`, `... errors` or so on."""
    records = {"errors": "wide_errors", "statistics": "projection_statistics"}
    rows = load(records.get(which, "projections"))["rows"]
    return markdown(*getattr(projections_tables, which)(rows))


def optics(which: str) -> str:
    """Return a table of optics: `optics accuracy`, `... short`, `... theory` or `... cost`."""
    record = "accuracy" if which == "short" else which
    return markdown(*getattr(optics_tables, which)(load(f"optics_{record}")["rows"]))


def features(which: str) -> str:
    """Return a table of random features: `features kernel`, `... ridge` or `... defence`."""
    return markdown(*getattr(random_features_tables, which)(load("random_features")["rows"]))


def pivot(rows: Sequence[dict[str, Any]], figure: str, limit: str | None = None) -> str:
    """Return one row a network and one column a rule."""
    nets = list(dict.fromkeys(row["net"] for row in rows))
    by_name = {(row["net"], row["rule"]): row for row in rows}
    rules = [r for r in (*RULES, CHAIN_STEP) if r in {row["rule"] for row in rows}]
    lines = []
    for net in nets:
        cells = [number(by_name.get((net, r), {}).get(figure), ".2f") for r in rules]
        more = [number(by_name[net, "dfa"][limit], ".2f")] if limit else []
        lines.append([net, *cells, *more])
    return markdown(("network", *rules, *(["DFA's FLOP limit"] if limit else [])), lines)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; numbers stand to the right."""
    rule = [":--", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def load(name: str) -> dict[str, Any]:
    """Return a record of results/."""
    record: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text("utf-8"))
    return record


if __name__ == "__main__":
    main()
