"""Loss terms, one per name."""
