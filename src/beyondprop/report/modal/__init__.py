"""The part of a report on networks of several modalities, each trained alone and then together."""
