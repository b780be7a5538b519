"""The `sampan` command: one file per command."""
