"""Things by a short name or by module:attribute."""
