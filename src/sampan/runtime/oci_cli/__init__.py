"""`sampan-runtime`: an OCI runtime on the command line, over the same `launch` as the engine's."""
