"""Images: manifests, pull, push, commit, save, load, base images."""
