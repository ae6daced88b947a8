"""The engine: it changes a model so that rules teach its blocks, and changes it back."""
