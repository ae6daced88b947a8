"""The part of a report on audits of trained models."""
