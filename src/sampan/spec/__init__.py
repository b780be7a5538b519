"""Foreign formats, pure: OCI image and runtime, Docker API shapes, Dockerfile grammar."""
