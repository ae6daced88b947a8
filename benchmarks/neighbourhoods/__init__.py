"""Networks split into pieces that learn separately."""
