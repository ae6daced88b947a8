"""Hugging Face's trainer, unchanged, on a GPT-2 with its labels inside, under several rules.

    python -m benchmarks.models.trainer

A text of characters (``BEYONDPROP_DATA`` names the folder that has ``tinyshakespeare.txt``) is cut
in three; each rule's rate is chosen by the second part, on a grid that goes on while its best is at
an edge, and the third part tells. Frozen, whose hidden layers stay as they were drawn, learns three
times as long, until its head has converged. A linear model sees the last character.
"""

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import Progress
from scipy import stats
from torch import Tensor, nn

import beyondprop as bp
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Cells, Table, number
from benchmarks.common.timing import set_threads
from beyondprop.core import Rule
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar, bars

RULES: Mapping[str, Callable[[], Rule]] = {
    "backprop": bp.Backprop,
    "dfa": bp.DirectFeedbackAlignment,
    "drtp": bp.DirectRandomTargetProjection,
    "dgl": lambda: bp.LocalLoss(bp.CrossEntropy()),
    "frozen": bp.Frozen,
}
GRID = (3e-4, 1e-3, 3e-3, 1e-2)
LONGER = {"frozen": 3}
MOST = 8
"""Rates that are tried for a rule at the most."""


def main(
    steps: int = 300,
    repeats: int = 5,
    layers: int = 3,
    width: int = 48,
    tokens: int = 48,
    batch: int = 16,
    output: Path = Path("results/models/trainer.json"),
) -> None:
    """Train a GPT-2 by Hugging Face's trainer under several rules.

    Args:
        steps: Of the optimizer; frozen takes three times as many.
        repeats: Seeds of weights and the order of the data.
        layers: Of the model.
        width: Of the model.
        tokens: Characters in a row.
        batch: Rows in a batch.
        output: Where the record goes; the table goes beside it.

    Raises:
        UserError: transformers is not installed, or the text is not there.
    """
    started = datetime.now(UTC)
    used = set_threads(1)
    text = read()
    settings = {"n_layer": layers, "n_embd": width, "n_positions": tokens}
    study = Study(text, settings, steps, batch)
    rows: list[dict[str, Any]] = []
    with bars() as progress:
        for rule in RULES:
            rows += study.of_rule(rule, repeats, progress)
    rows.append({"rule": "linear", "rate": None, "tried": {}, "test": [bigram(text)] * repeats})
    spec = {"steps": steps, "repeats": repeats, "batch": batch, "threads": used, **settings}
    save("models/trainer", spec, rows, table(rows), started, output)


def read() -> dict[str, Tensor]:
    """Return the numbers of the characters of three parts of the text.

    Raises:
        UserError: It is not there.
    """
    folder = os.environ.get("BEYONDPROP_DATA", "")
    path = Path(folder) / "tinyshakespeare.txt"
    if not folder or not path.exists():
        raise UserError("set BEYONDPROP_DATA to a folder that has tinyshakespeare.txt")
    words = path.read_text("utf-8")
    numbers = {character: i for i, character in enumerate(sorted(set(words)))}
    found = torch.tensor([numbers[character] for character in words])
    first, second = len(found) * 8 // 10, len(found) * 9 // 10
    parts = found[:first], found[first:second], found[second:]
    return dict(zip(("train", "validation", "test"), parts, strict=True))


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Rows of characters, their labels the same."""

    def __init__(self, text: Tensor, tokens: int) -> None:
        self.rows = text[: len(text) // tokens * tokens].view(-1, tokens)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"input_ids": self.rows[place], "labels": self.rows[place]}


class Study:
    """Runs of one model on one text.

    Attributes:
        text: Its three parts.
        settings: Of the model.
        steps: Of the optimizer.
        batch: Rows in a batch.
    """

    def __init__(
        self, text: Mapping[str, Tensor], settings: Mapping[str, int], steps: int, batch: int
    ) -> None:
        self.text, self.settings, self.steps, self.batch = text, settings, steps, batch

    def of_rule(self, rule: str, seeds: int, progress: Progress) -> list[dict[str, Any]]:
        """Return a row: the chosen rate, all that were tried, and the test loss of each seed."""
        tried: dict[float, float] = {}
        with bar(progress, rule, len(GRID) + seeds) as shown:
            for rate in GRID:
                tried[rate] = self.run(rule, rate, 1000)["validation"]
                progress.advance(shown)
            while len(tried) < MOST and (more := beyond(tried)) is not None:
                tried[more] = self.run(rule, more, 1000)["validation"]
            rate = min(tried, key=tried.__getitem__)
            found = []
            for seed in range(seeds):
                found.append(self.run(rule, rate, seed))
                progress.advance(shown)
        return [
            {
                "rule": rule,
                "rate": rate,
                "tried": {str(key): value for key, value in sorted(tried.items())},
                "edge": beyond(tried) is not None,
                **{part: [each[part] for each in found] for part in found[0]},
            }
        ]

    def run(self, rule: str, rate: float, seed: int) -> dict[str, float]:
        """Return what one run ends with: losses in nats a character, and the first training loss.

        Of a run that diverged they are infinite.
        """
        model = self.model(seed)
        rules = {"transformer.w?e": bp.Backprop(), "transformer.h.*": RULES[rule]()}
        handle = bp.attach(model, rules, output="transformer.ln_f", targets="labels")
        before = self.loss(model, "train")
        self.train(model, handle, rate, seed, self.steps * LONGER.get(rule, 1))
        found = {part: self.loss(model, part) for part in ("train", "validation", "test")}
        return {"before": before, **{k: v if v == v else math.inf for k, v in found.items()}}

    def model(self, seed: int) -> nn.Module:
        """Return a model that knows nothing yet."""
        try:
            import transformers
        except ImportError:
            raise UserError("this needs transformers: pip install -e '.[models]'") from None
        torch.manual_seed(seed)
        quiet = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        vocabulary = 1 + max(int(part.max()) for part in self.text.values())
        config = transformers.GPT2Config(
            vocab_size=vocabulary, n_head=4, use_cache=False, **self.settings, **quiet
        )
        made: nn.Module = transformers.GPT2LMHeadModel(config)
        return made

    def train(
        self, model: nn.Module, handle: Attachment, rate: float, seed: int, steps: int
    ) -> None:
        """Have the trainer train."""
        from transformers import Trainer, TrainingArguments

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=self.batch,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                seed=seed,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
            )
            optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], rate)
            data = Rows(self.text["train"], self.settings["n_positions"])
            Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, None)).train()

    @torch.no_grad()
    def loss(self, model: Any, part: str) -> float:
        """Return the mean loss on the first 256 rows of a part."""
        model.eval()
        rows = Rows(self.text[part], self.settings["n_positions"]).rows[:256]
        return float(model(input_ids=rows, labels=rows).loss)


def beyond(tried: Mapping[float, float]) -> float | None:
    """Return the rate to try next where the best is at an edge of those tried, else None."""
    rates = sorted(tried)
    best = min(tried, key=tried.__getitem__)
    if best == rates[0]:
        return best / math.sqrt(10)
    return best * math.sqrt(10) if best == rates[-1] else None


def bigram(text: Mapping[str, Tensor]) -> float:
    """Return the test loss of a linear model of the last character, which counts solve."""
    size = 1 + max(int(part.max()) for part in text.values())
    pairs = text["train"][:-1] * size + text["train"][1:]
    counts = pairs.bincount(minlength=size * size).view(size, size).double() + 0.1
    logits = (counts / counts.sum(1, keepdim=True)).log()
    return float(F.cross_entropy(logits[text["test"][:-1]], text["test"][1:]))


def cells(rows: list[dict[str, Any]]) -> Cells:
    """Return the test losses beside those of frozen: one row a rule."""
    losses = {row["rule"]: torch.tensor(row["test"], dtype=torch.float64) for row in rows}
    below, above = losses["frozen"], losses["backprop"]
    lines = []
    for row in rows:
        found = losses[row["rule"]]
        rate = "" if row["rate"] is None else number(row["rate"], ".2g")
        share = ((below - found).mean() / (below - above).mean()).item()
        first = number(sum(row["before"]) / len(row["before"]), ".2f") if "before" in row else ""
        mine = [rate, first, number(found.mean().item(), ".3f"), interval(found - below)]
        lines.append([f"`{row['rule']}`", *mine, number(share, ".2f")])
    return ("rule", "rate", "before", "test loss", "less frozen's", "recovery"), lines


def interval(differences: Tensor) -> str:
    """Return the mean of paired differences with its 95 % t interval."""
    if not differences.any():
        return ""
    count = len(differences)
    half = float(stats.t.ppf(0.975, count - 1)) * differences.std().item() / math.sqrt(count)
    return f"{differences.mean().item():+.3f} ± {half:.3f}"


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the table: one row a rule."""
    heads, lines = cells(rows)
    notes = [
        "Test loss in nats a character, means over seeds; with 95 % paired t intervals of the "
        "difference from frozen. Recovery: the share of the way from frozen to backprop."
    ]
    return Table("GPT-2 under Hugging Face's trainer", heads, lines, notes)


if __name__ == "__main__":
    command_line(main)
