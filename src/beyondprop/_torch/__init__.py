"""What PyTorch lacks or hides, in one place."""
