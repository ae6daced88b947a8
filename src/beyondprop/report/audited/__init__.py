"""The part of a report on audits: what trained models forget, what fools them, and why."""
