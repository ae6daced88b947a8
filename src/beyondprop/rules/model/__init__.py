"""Rules that run the model's forward pass themselves."""
