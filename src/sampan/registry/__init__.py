"""A client of OCI distribution registries: names to hosts, authentication, manifests, blobs in both directions."""
