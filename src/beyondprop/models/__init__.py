"""Networks for rules and tasks, in plain PyTorch."""
