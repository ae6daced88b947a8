"""The engine, which changes a model so that rules teach its blocks, and undoes the change."""
