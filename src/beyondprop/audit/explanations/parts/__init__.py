"""The parts of the section: each computes one group of figures of a model as JSON values.

They must run inside `explained(model)`.
"""
