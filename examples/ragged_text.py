"""Compare rules on texts of different lengths, padded batch by batch.

python examples/ragged_text.py            # sentences that the script makes

If BEYONDPROP_DATA names a folder with clothing-reviews.csv.gz, the script uses these texts: does a
customer recommend the reviewed item?
"""

import csv
import gzip
import os
import random
import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from beyondprop.experiment import CompareSpec, compare
from beyondprop.tasks import Data, Task, from_dataset

WORDS, MOST = 2000, 4000  # words that are known; texts that are read
REVIEWS = Path(os.environ.get("BEYONDPROP_DATA", "."), "clothing-reviews.csv.gz")


def sentences() -> list[tuple[str, int]]:
    """Return sentences of 4 to 20 words, and whether more of them praise than blame."""
    drawn = random.Random(0)
    praise, blame = ["good", "lovely", "soft", "warm"], ["bad", "thin", "torn", "dull"]
    others = ["the", "a", "it", "is", "this", "dress", "coat", "and", "very", "so", "in", "on"]
    found = []
    while len(found) < MOST // 2:
        kinds = [drawn.choice([praise, blame, others]) for _ in range(drawn.randint(4, 20))]
        words = [drawn.choice(kind) for kind in kinds]
        balance = sum(word in praise for word in words) - sum(word in blame for word in words)
        if balance:
            found.append((" ".join(words), int(balance > 0)))
    return found


def reviews() -> list[tuple[str, int]]:
    """Return reviews, and whether the product is recommended."""
    with gzip.open(REVIEWS, "rt", encoding="utf-8", newline="") as stream:
        rows = [(r["Review Text"], int(r["Recommended IND"])) for r in csv.DictReader(stream)]
    return [row for row in rows if row[0]][:MOST]


def collate(samples: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Return word numbers (batch, longest text), padded by 0, and labels (batch,)."""
    texts = [torch.tensor(numbers) for numbers, _ in samples]
    return pad_sequence(texts, batch_first=True), torch.tensor([label for _, label in samples])


def load(_folder: Path | None) -> Data:
    texts = reviews() if REVIEWS.exists() else sentences()
    split = [(re.findall(r"[a-z']+", text.lower()), label) for text, label in texts]
    test, validation = len(split) // 5, len(split) // 10
    train = split[test + validation :]
    common = Counter(word for words, _ in train for word in words).most_common(WORDS - 2)
    numbers = {word: i for i, (word, _) in enumerate(common, 2)}  # 0 is padding, 1 an unknown word
    samples = [([numbers.get(word, 1) for word in words] or [1], label) for words, label in split]
    # A list of samples is a dataset; a torch Dataset or a DataLoader also works.
    return Data(
        "texts",
        train=from_dataset(samples[test + validation :], collate),
        validation=from_dataset(samples[test : test + validation], collate),
        test=from_dataset(samples[:test], collate),
        classes=("no", "yes"),
    )


class MeanOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        self.hidden = nn.Sequential(nn.Linear(32, 64), nn.Tanh())
        self.head = nn.Linear(64, 2)

    def forward(self, words: Tensor) -> Tensor:
        count = (words > 0).sum(1, keepdim=True)
        return self.head(self.hidden(self.embedding(words).sum(1) / count))


TASK = Task(
    name="ragged-text",
    summary="texts of any length, the mean of embedded words, two layers",
    load=load,
    model=MeanOfWords,
    blocks=("embedding", "hidden", "head"),  # in running order: the model is not a chain
    epochs=8,
    batch_size=32,
    learning_rate=5e-3,
)


def main() -> None:
    # One seed and one learning rate are a first look: `beyondprop compare` uses more of both.
    spec = CompareSpec(
        rules=("backprop", "dfa", "drtp", "frozen"),
        seeds=(0,),
        learning_rates=(TASK.learning_rate,),
        measure_cost=False,
    )
    with TemporaryDirectory() as folder:
        found = compare(spec, Path(folder, "comparison"), task=TASK)
    for row in found["rows"]:
        print(f"{row['rule']:<10} {row['score_mean']:.1%}")
    print(f"\nTest accuracy: {found['rows'][0]['score_mean']:.1%} by backprop")


if __name__ == "__main__":
    main()
