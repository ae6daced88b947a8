"""Rules that replace each layer's weight in the backward pass."""
