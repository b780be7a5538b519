"""Containers and build steps as OCI runtime configurations (https://github.com/opencontainers/runtime-spec)."""
