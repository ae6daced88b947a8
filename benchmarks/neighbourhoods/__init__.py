"""Networks taken apart: what pieces learn alone."""
