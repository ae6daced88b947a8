"""What pre-training of modalities and attention between them buys, on tasks of several."""
