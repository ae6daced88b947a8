"""The parts of the section: each asks a model one thing and returns JSON values.

They run inside `explained(model)`.
"""
