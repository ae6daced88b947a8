"""The same measurements with other libraries."""
