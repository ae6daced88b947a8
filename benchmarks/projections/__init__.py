"""Random projections: time, statistics, errors with many classes."""
