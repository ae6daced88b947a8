"""Attacks on the library: bad inputs, damaged files, kills, full disks, many threads."""
