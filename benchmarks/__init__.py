"""Benchmarks: one package per topic; each module with a command writes one record of `results/`."""
