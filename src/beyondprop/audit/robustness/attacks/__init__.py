"""Attacks: searches for inputs nearby that fool a classifier.

They work in units of the features' ranges, so that ε is a share of the range and every result is in
[0, 1]. The caller decides which gradients they use: `withstood` provides exact ones.
"""
