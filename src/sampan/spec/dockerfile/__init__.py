"""The Dockerfile language: text to instructions, variable expansion, `.dockerignore`.

Pure: no I/O and only the standard library, so that the CLI and the builder read the very same grammar. The parts:

    parser.py        bytes       -> lines with flags, arguments and heredocs
    instructions.py  a line      -> a typed instruction (syntax.py)
    stages.py        instructions -> stages
    words.py         a word      -> its expansion
    ignore.py        `.dockerignore` patterns

Source: https://docs.docker.com/reference/dockerfile/ and the behaviour of dockerd.
"""
