"""Use cases; owns the locks."""
