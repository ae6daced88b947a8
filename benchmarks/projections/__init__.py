"""Random projections: time, statistics, errors of many classes."""
