"""Fast forms of small networks."""
