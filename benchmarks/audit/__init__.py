"""The questions of the audit over rules."""
