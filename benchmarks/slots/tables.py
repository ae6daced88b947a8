"""The tables of slot machines on README and pages, made from records."""

from typing import Any

from benchmarks.common.tables import Cells, number, percent


def cost(rows: list[dict[str, Any]]) -> Cells:
    """Return the cost of a step compared with dense weights: one row per form."""
    lines = [
        [
            row["net"],
            row["form"],
            str(row["threads"]),
            number(row["ratio"], ".2f"),
            number(row["state_ratio"], ".1f"),
            number(row["peak_ratio"], ".2f"),
        ]
        for row in rows
    ]
    heads = (
        "network",
        "form",
        "threads",
        "step time / dense",
        "state / weights",
        "peak memory / dense",
    )
    return heads, lines


def accuracy(rows: list[dict[str, Any]]) -> Cells:
    """Return the accuracy of each way: one row per way, and another one if weights are drawn."""
    lines = []
    for row in rows:
        named = NAMES.get(row["variant"], row["variant"])
        figures = percent(row["test_accuracy"], row["deviation"]), f"{row['recovery']:.0%}"
        lines.append([named, *figures, f"{row['rate']:g}", f"{row['epochs']}"])
        if row["drawn_accuracy"] is not None:
            drawn = f"{row['drawn_accuracy']:.2%}"
            lines.append([f"{named}, scored with drawn weights", drawn, "–", "–", "–"])
    return ("weights", "test accuracy", "recovery", "learning rate", "epochs"), lines


NAMES = {
    "learned": "learned, the paper's rate",
    "learned, 0.1": "learned, higher rate",
    "K=8, sampled": "K=8, sampled",
    "K=8, a layer's values": "K=8, values shared in a layer",
    "K=8, a network's values": "K=8, values shared in the network",
    "K=8, Kaiming's values": "K=8, wider values (`KaimingUniform`)",
    "K=8, then tuned": "K=8, then trained as ordinary weights",
    "supermask, half": "`Supermask(keep=0.5)`",
    "frozen": "frozen (the last layer alone learns)",
}


def tasks(rows: list[dict[str, Any]]) -> Cells:
    """Return the results of learning five tasks one after another: one row per way."""
    lines = [
        [
            f"{row['scenario']} MNIST",
            row["way"],
            percent(row["final_mean"], row["final_std"]),
            f"{row['forgetting'] * 100:.2f}",
            "to the bit" if row["same_bits"] else "no",
            number(row["bits"], "g"),
            number(row["bytes"], ",.0f"),
            " / ".join(f"{share:.0%}" for share in row["inferred"].values()) or "–",
        ]
        for row in rows
    ]
    heads = (
        "tasks",
        "weights",
        "accuracy at the end",
        "points forgotten",
        "outputs as learned",
        "bits per weight and task",
        "bytes per task",
        "task inferred",
    )
    return heads, lines
