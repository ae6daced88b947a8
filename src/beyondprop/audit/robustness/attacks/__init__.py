"""Attacks: searches for inputs nearby that fool a classifier.

They work in units of the features' ranges, so that ε is a share of the range and every result lies
in [0, 1]. Which gradients they see is their caller's to say: `withstood` asks for exact ones.
"""
