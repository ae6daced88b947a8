"""What the audit asks, over rules."""
