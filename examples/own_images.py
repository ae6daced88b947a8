"""Compare rules on a folder that holds a folder of images for each class.

python examples/own_images.py             # digits, which the script writes as images
python examples/own_images.py pictures

Images are read by Pillow: pip install ".[data]".
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from beyondprop import tasks
from beyondprop.experiment import CompareSpec, compare
from beyondprop.tasks import Task


def write_images(folder: Path) -> None:
    """Write the package's digits as folder/class/number.png."""
    digits = tasks.find("digits-conv").load(None)
    images, labels = digits.train.batch(slice(None))
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = folder / digits.classes[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).to(torch.uint8).numpy()).save(path)


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Move a batch of images by a pixel at most, as augmentation."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return images.roll((down, right), dims=(2, 3))


def main() -> None:
    with TemporaryDirectory() as folder:
        if len(sys.argv) == 2:
            path, size = Path(sys.argv[1]), 32
        else:
            path, size = Path(folder, "digits"), 8
            write_images(path)

        # Folders train, val and test are the splits, if they exist; otherwise splits are drawn.
        task = Task.from_folder(path, size, grey=True, augment=shifted, epochs=6)
        print(task.summary, end="\n\n")

        # One seed and one learning rate are a first look: `beyondprop compare` uses more of both.
        spec = CompareSpec(
            rules=("backprop", "dfa", "frozen"),
            seeds=(0,),
            learning_rates=(3e-3,),
            measure_cost=False,
        )
        found = compare(spec, Path(folder, "comparison"), task=task)
        for row in found["rows"]:
            print(f"{row['rule']:<10} {row['score_mean']:.1%}")
        print(f"\nTest accuracy: {found['rows'][0]['score_mean']:.1%} by backprop")


if __name__ == "__main__":
    main()
