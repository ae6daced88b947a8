"""Hugging Face's trainer, unchanged, on a GPT-2 that computes its own loss, under several rules.

    python -m benchmarks.models.trainer

A text of characters (in ``tinyshakespeare.txt``, in the folder ``BEYONDPROP_DATA``) is split into
three parts. Each rule's rate is chosen on the second part, on a grid that is extended while its
best rate is at an edge, and the third part is the test. Frozen, whose hidden layers keep their
initial weights, trains three times as long, until its head has converged. A linear model uses the
last character.
"""

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from benchmarks.models.tables import trainer
from beyondprop.core import Rule
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError, install
from beyondprop.measure import alignment


def local_loss() -> Rule:
    """Return a rule with a local classifier per block."""
    return bp.LocalLoss(bp.CrossEntropy())


@dataclass(frozen=True)
class Way:
    """A way to train the model.

    Attributes:
        rule: The rule of the hidden layers.
        output: The module at whose output the error is taken.
        longer: The length of training, relative to the others.
    """

    rule: Callable[[], Rule]
    output: str = "transformer.ln_f"
    longer: int = 1


WAYS: Mapping[str, Way] = {
    "backprop": Way(bp.Backprop),
    "dfa": Way(bp.DirectFeedbackAlignment),
    "dfa from the logits": Way(bp.DirectFeedbackAlignment, "lm_head"),
    "drtp": Way(bp.DirectRandomTargetProjection),
    "dgl": Way(local_loss),
    "frozen": Way(bp.Frozen, longer=3),
}
GRID = (3e-4, 1e-3, 3e-3, 1e-2)
SCORED = 256
"""Rows of a part on which losses are computed."""

MOST = 8
"""Most rates that are tried."""


def main(
    steps: int = 600,
    repeats: int = 3,
    layers: int = 3,
    width: int = 48,
    tokens: int = 48,
    batch: int = 16,
    workers: int = 1,
    runs: Path = Path("runs/models"),
    output: Path = Path("results/models/trainer.json"),
) -> None:
    """Train a GPT-2 by Hugging Face's trainer under several rules.

    Args:
        steps: Steps of the optimizer; frozen takes three times as many.
        repeats: Seeds of weights and the order of the data.
        layers: Layers of the model.
        width: Width of the model.
        tokens: Characters per row.
        batch: Rows per batch.
        workers: Parallel processes.
        runs: Folder that caches finished rows.
        output: The file of the record; the table is written next to it.

    Raises:
        UserError: transformers is not installed, or the text is missing.
    """
    started = datetime.now(UTC)
    settings = {"n_layer": layers, "n_embd": width, "n_positions": tokens}
    study = Study(read(), settings, steps, batch, repeats)
    jobs = {
        f"{way}, {head}": partial(study.row, way, head)
        for head in ("tied", "untied")
        for way in WAYS
    }
    kept = runs / f"trainer-{steps}-{repeats}-{layers}-{width}-{tokens}-{batch}"
    rows = list(cached_runs(kept, jobs, workers).values())
    linear = [bigram(study.text, tokens)] * repeats
    rows += [{"way": "linear", "head": "", "rate": None, "tried": {}, "test": linear}]
    spec = {"steps": steps, "repeats": repeats, "batch": batch, "threads": 1, **settings}
    save("models/trainer", spec, rows, table(rows), started, output)


def read() -> dict[str, Tensor]:
    """Return the three parts of the text as indices of characters.

    Raises:
        UserError: The text is missing.
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
    """Rows of characters, which are also their labels."""

    def __init__(self, text: Tensor, tokens: int) -> None:
        self.rows = text[: len(text) // tokens * tokens].view(-1, tokens)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"input_ids": self.rows[place], "labels": self.rows[place]}


@dataclass(frozen=True, eq=False)
class Study:
    """Runs of one model on one text.

    Attributes:
        text: The three parts of the text.
        settings: The settings of the model.
        steps: Steps of the optimizer.
        batch: Rows per batch.
        repeats: The number of seeds.
    """

    text: Mapping[str, Tensor]
    settings: Mapping[str, int]
    steps: int
    batch: int
    repeats: int

    def row(self, way: str, head: str) -> dict[str, Any]:
        """Return a row: the chosen rate, all tried rates, and the losses of each seed."""
        set_threads(1)
        tried: dict[float, float] = {}
        waiting = list(GRID)
        while waiting and len(tried) < MOST:
            rate = waiting.pop(0)
            tried[rate] = self.run(way, head, rate, 1000)["validation"]
            more = None if waiting else beyond(tried)
            waiting += [] if more is None else [more]
        best = min(tried, key=tried.__getitem__)
        found = [self.run(way, head, best, seed) for seed in range(self.repeats)]
        return {
            "way": way,
            "head": head,
            "rate": best,
            "tried": {f"{rate:.3g}": tried[rate] for rate in sorted(tried)},
            "edge": beyond(tried) is not None,
            **{part: [each[part] for each in found] for part in found[0]},
        }

    def run(self, way: str, head: str, rate: float, seed: int) -> dict[str, Any]:
        """Return the losses before and after one run, in nats per character.

        After a divergence they are infinite.
        """
        model, made = self.model(head, seed), WAYS[way].rule()
        before = made if way == "frozen" else bp.Backprop()  # frozen layers send nothing back
        words = bp.Backprop() if head == "tied" else before
        rules = {"transformer.wte": words, "transformer.wpe": before, "transformer.h.*": made}
        handle = bp.attach(model, rules, output=WAYS[way].output, targets="labels")
        first = self.loss(model, "train")
        self.train(model, handle, rate, seed, self.steps * WAYS[way].longer)
        found = {part: self.loss(model, part) for part in ("train", "validation", "test")}
        told = {k: v if v == v else math.inf for k, v in found.items()}
        return {"before": first, **told, "alignment": self.alignment(handle)}

    def alignment(self, handle: Attachment) -> float | None:
        """Return the mean cosine of the layers' updates with the true gradient, after training."""
        rows = Rows(self.text["train"], self.settings["n_positions"]).rows[:32]

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            logits = outputs.logits[:, :-1].flatten(0, 1)  # (rows × tokens, vocabulary)
            return F.cross_entropy(logits, targets[:, 1:].flatten())

        with handle.targets(rows):
            found = alignment(handle, rows, rows, loss)
        layers = [v for name, v in found.items() if ".h." in name and v is not None]
        return sum(layers) / len(layers) if layers else None

    def model(self, head: str, seed: int) -> Any:
        """Return an untrained model."""
        try:
            import transformers
        except ImportError:
            raise UserError(f"this needs transformers: {install('integrations')}") from None
        torch.manual_seed(seed)
        quiet = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        config = transformers.GPT2Config(
            vocab_size=vocabulary(self.text),
            n_head=4,
            use_cache=False,
            tie_word_embeddings=head == "tied",
            **self.settings,
            **quiet,
        )
        return transformers.GPT2LMHeadModel(config)

    def train(
        self, model: nn.Module, handle: Attachment, rate: float, seed: int, steps: int
    ) -> None:
        """Train with Hugging Face's trainer."""
        from transformers import PrinterCallback, Trainer, TrainingArguments

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
            trainer = Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, None))
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    @torch.no_grad()
    def loss(self, model: Any, part: str) -> float:
        """Return the mean loss on the first rows of a part."""
        model.eval()
        rows = Rows(self.text[part], self.settings["n_positions"]).rows[:SCORED]
        return float(model(input_ids=rows, labels=rows).loss)


def vocabulary(text: Mapping[str, Tensor]) -> int:
    """Return the number of different characters."""
    return 1 + max(int(part.max()) for part in text.values())


def beyond(tried: Mapping[float, float]) -> float | None:
    """Return the rate to try next if the best is at an edge of those tried, otherwise None."""
    rates = sorted(tried)
    best = min(tried, key=tried.__getitem__)
    if best == rates[0]:
        return best / math.sqrt(10)
    return best * math.sqrt(10) if best == rates[-1] else None


def bigram(text: Mapping[str, Tensor], tokens: int) -> float:
    """Return the test loss of a linear model of the last character, solved from counts."""
    size = vocabulary(text)
    pairs = text["train"][:-1] * size + text["train"][1:]
    counts = pairs.bincount(minlength=size * size).view(size, size).double() + 0.1
    logits = (counts / counts.sum(1, keepdim=True)).log()
    rows = Rows(text["test"], tokens).rows[:SCORED]  # the same rows as for the others
    return float(F.cross_entropy(logits[rows[:, :-1].flatten()], rows[:, 1:].flatten()))


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the table: one row per rule."""
    heads, lines = trainer(rows)
    notes = [
        "Test loss in nats per character, means over seeds, with 95 % paired t intervals of the "
        "difference from frozen and from a linear model of the last character. Recovery: the "
        "share of the distance from frozen to backprop. Alignment: the mean "
        "cosine of the layers' updates with the true gradient, after training. Tied: the embedding "
        "is also the decoder."
    ]
    return Table("GPT-2 under Hugging Face's trainer", heads, lines, notes)


if __name__ == "__main__":
    command_line(main)
