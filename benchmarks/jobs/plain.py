"""Plain PyTorch on the task of `scaling`, without the library's loop: one process, some seeds.

python -m benchmarks.jobs.plain 400 0 1
"""

import torch

from beyondprop.tasks import find
from beyondprop.tasks.order import order

TASK = "digits-conv"
"""Its epochs are so long that evaluation and checkpoints take little time in comparison."""


def train(epochs: int, seeds: list[int]) -> None:
    """Train the network of `TASK` by backprop from each seed, on one thread."""
    torch.set_num_threads(1)
    task = find(TASK)
    split = task.load(None).train
    for seed in seeds:
        torch.manual_seed(seed)
        model = task.model()
        optimizer = task.optimizer(model.parameters(), task.learning_rate)
        for epoch in range(epochs):
            for rows in order(seed, epoch + 1, len(split)).split(task.batch_size):
                optimizer.zero_grad()
                task.loss(model(split.inputs[rows]), split.targets[rows]).backward()
                optimizer.step()
