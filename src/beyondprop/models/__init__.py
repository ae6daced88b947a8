"""Networks that rules and tasks use, plain PyTorch."""
