"""The `sampan` command: one file per command in `commands`, found through the lazy table in `table`.

main       global options, dispatch, errors and exit codes
table      every command: name → module and summary
command    what a command's module declares (`COMMAND`)
flags      the parser: a command's help text *is* its table of flags
usage      `--help`
context    what a command is given: the engine, the streams, the configuration
template/  Go templates for --format;  listing  tables;  tabwriter  their columns
session    attached streams: raw terminal, resize, detach keys, signals
progress   pull, push and build as they go
"""
