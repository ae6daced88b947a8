"""How much of backprop's gain a case keeps, in records that are no comparisons."""


def recovery(case: float | None, high: float | None, low: float | None) -> float | None:
    """Return (case - low) / (high - low); None where a score is missing or nothing is gained."""
    if case is None or high is None or low is None or high <= low:
        return None
    return (case - low) / (high - low)
