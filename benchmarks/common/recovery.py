"""The recovery of a case, in records that are not comparisons."""


def recovery(case: float | None, high: float | None, low: float | None) -> float | None:
    """Return (case - low) / (high - low); None if a score is missing or nothing is gained."""
    if case is None or high is None or low is None or high <= low:
        return None
    return (case - low) / (high - low)
