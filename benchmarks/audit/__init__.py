"""What the audit finds of every rule, beyond single runs."""
