"""Rules under which each block minimises its own loss."""
