"""Models that are in no package, as people commonly write them in plain PyTorch."""
