"""What pre-training of modalities buys, on tasks of several."""
