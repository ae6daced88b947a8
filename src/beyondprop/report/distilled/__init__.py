"""The part of a report on a network that was distilled piece by piece."""
