"""Compare rules on a model with two inputs: the left and the right half of a digit.

python examples/two_inputs.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from beyondprop import tasks
from beyondprop.experiment import CompareSpec, compare
from beyondprop.tasks import Data, Samples, Split, Task


def load(_folder: Path | None) -> Data:
    digits = tasks.find("digits-conv").load(None)

    def halves(part: Samples) -> Split:
        images, labels = part.batch(slice(None))
        # A dictionary: the model is called with arguments of these names. A tuple also works.
        inputs = {"left": images[..., :4].flatten(1), "right": images[..., 4:].flatten(1)}
        return Split(inputs, labels)

    return digits.mapped(halves)


class TwoHalves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(32, 64), nn.Tanh())
        self.right = nn.Sequential(nn.Linear(32, 64), nn.Tanh())
        self.both = nn.Sequential(nn.Linear(128, 64), nn.Tanh())
        self.head = nn.Linear(64, 10)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        joined = torch.cat([self.left(left), self.right(right)], dim=1)
        return self.head(self.both(joined))


TASK = Task(
    name="two-halves",
    summary="digits from their left and right halves",
    load=load,
    model=TwoHalves,
    blocks=("left", "right", "both", "head"),  # in running order: the model is not a chain
    epochs=20,
    batch_size=64,
    learning_rate=5e-3,
)


def main() -> None:
    # One seed and one learning rate are a first look: `beyondprop compare` uses more of both.
    spec = CompareSpec(
        rules=("backprop", "fa", "dfa", "drtp", "frozen"),
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
