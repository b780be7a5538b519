"""Builds: a client's request, its base images and downloads, and RUN on the engine's own runtime."""
