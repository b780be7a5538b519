"""A create request: its fields and defaults, and the ordered checks that it must pass."""
