"""Compare rules on a CSV file: columns of numbers and of texts, with gaps.

python examples/own_csv.py                # a table that the script writes
python examples/own_csv.py people.csv income

If BEYONDPROP_DATA names a folder with adult.csv.gz (48,842 rows of a census), the script uses it.
"""

import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from beyondprop.experiment import CompareSpec, compare
from beyondprop.tasks import Task


def write_table(path: Path, rows: int = 2000) -> None:
    """Write who repaid a loan, which depends on income and debts only. Some incomes are missing."""
    drawn = random.Random(0)
    lines = ["income,debts,work,town,repaid"]
    for _ in range(rows):
        income, debts = drawn.gauss(40, 12), abs(drawn.gauss(0, 30))
        work = drawn.choice(["office", "trade", "none"])
        repaid = income - debts - 20 * (work == "none") > drawn.gauss(0, 4)
        known = f"{income:.1f}" if drawn.random() > 0.05 else ""
        town = drawn.choice(["Ulm", "Jena", "Trier"])
        lines.append(f"{known},{debts:.1f},{work},{town},{'yes' if repaid else 'no'}")
    path.write_text("\n".join(lines))


def main() -> None:
    with TemporaryDirectory() as folder:
        adult = Path(os.environ.get("BEYONDPROP_DATA", folder), "adult.csv.gz")
        if len(sys.argv) == 3:
            path, target = Path(sys.argv[1]), sys.argv[2]
        elif adult.exists():
            path, target = adult, "income"
        else:
            path, target = Path(folder, "loans.csv"), "repaid"
            write_table(path)

        # Numbers are standardised, texts are one-hot encoded, gaps are marked. The summary shows
        # the result; kind=bp.Values() would turn a column of numbers into a regression target.
        task = Task.from_csv(path, target, epochs=3, learning_rate=3e-3)
        print(task.summary, end="\n\n")

        # One seed and one learning rate are a first look: `beyondprop compare` uses more of both.
        spec = CompareSpec(
            rules=("backprop", "dfa", "predsim", "frozen"),
            seeds=(0,),
            learning_rates=(task.learning_rate,),
            measure_cost=False,
        )
        found = compare(spec, Path(folder, "comparison"), task=task)
        for row in found["rows"]:
            print(f"{row['rule']:<10} {row['score_mean']:.1%}")
        print(f"\nTest accuracy: {found['rows'][0]['score_mean']:.1%} by backprop")


if __name__ == "__main__":
    main()
