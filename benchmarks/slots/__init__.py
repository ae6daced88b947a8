"""Slot machines: cost, accuracy, continual learning."""
