"""The figures of an audit: for each section what its runs have found, rule beside rule."""
