"""The effect of pre-training single modalities, on tasks with several."""
