"""Models that no package brings, as people commonly write them in plain PyTorch."""
