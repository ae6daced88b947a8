"""Random features of an optical device: kernel, ridge regression, defence."""
