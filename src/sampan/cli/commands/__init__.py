"""One module per command; each declares `COMMAND`. See `sampan.cli.table` for their names."""
