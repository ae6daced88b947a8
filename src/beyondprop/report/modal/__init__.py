"""The part of a report on networks of several modalities, trained alone and then together."""
