"""Records of comparisons with chosen scores, for the tests of what pages say."""

from typing import Any


def record(
    scores: dict[str, list[float | None]], searches: dict[str, Any] | None = None, test: int = 1000
) -> dict[str, Any]:
    """Return a record with a run for each score, in the order of seeds; None is a diverged run."""
    runs = [run(rule, seed, one) for rule, own in scores.items() for seed, one in enumerate(own)]
    tuning: dict[str, Any] = {
        "epochs": 4,
        "learning_rates": [0.01, 0.1, 1.0],
        "trials": [trial(rule, rate) for rule in scores for rate in (0.01, 0.1, 1.0)],
        "chosen": dict.fromkeys(scores, 0.1),
    }
    if searches is not None:
        tuning |= {"epochs": [1, 4], "budget": 10.0, "searches": searches}
    return {
        "schema": 2,
        "kind": "comparison",
        "task": {"name": "made", "data": "Made", "test": test, "metric": "accuracy"},
        "seeds": [*range(len(next(iter(scores.values()))))],
        "rows": [row(rule, own) for rule, own in scores.items()],
        "runs": runs,
        "tuning": tuning,
        "chance": {"score": 0.1, "of": "the best constant output"},
    }


def run(rule: str, seed: int, score: float | None) -> dict[str, Any]:
    """Return a run's record with a curve of two points."""
    losses = (2.3, 0.5)
    return {
        "rule": {"name": rule},
        "seed": seed,
        "status": "finished" if score is not None else "diverged",
        "test": None if score is None else {"score": score, "loss": 0.5},
        "curve": [
            {"epoch": i, "validation_loss": loss, "validation_score": score}
            for i, loss in enumerate(losses)
        ],
    }


def row(rule: str, scores: list[float | None]) -> dict[str, Any]:
    """Return a row of a record from before intervals."""
    known = [score for score in scores if score is not None]
    return {
        "rule": rule,
        "runs": len(scores),
        "finished": len(known),
        "diverged": len(scores) - len(known),
        "failed": 0,
        "score_mean": sum(known) / len(known) if known else None,
        "recovery": 0.5,
        "alignment": -0.001,
    }


def trial(rule: str, rate: float, optimizer: str = "", epochs: int = 4, score: float = 0.5) -> Any:
    """Return a trial that finished."""
    return {
        "rule": rule,
        "optimizer": optimizer,
        "learning_rate": rate,
        "epochs": epochs,
        "status": "finished",
        "validation_score": score,
    }


def search(optimizer: str = "", edge: bool = False) -> dict[str, Any]:
    """Return what a rule's search came to."""
    return {"optimizer": optimizer, "trials": 3, "compute": 3.0, "step_cost": 1.0, "edge": edge}
