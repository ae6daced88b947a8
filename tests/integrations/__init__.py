"""Recipes of the documentation, run with the frameworks that they are for."""
