"""Benchmarks: a package a topic; each module with a command writes one record of `results/`."""
