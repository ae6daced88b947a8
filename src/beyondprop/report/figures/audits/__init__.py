"""The figures of an audit: for each section, the results of its runs by rule."""
