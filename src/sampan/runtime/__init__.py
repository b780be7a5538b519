"""Zygote, shim, container init and exec, and the OCI runtime CLI. Stdlib, linux, tar, logs and errors only."""
