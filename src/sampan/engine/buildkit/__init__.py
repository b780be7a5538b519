"""`docker buildx build`: BuildKit's Control and LLBBridge services on our builder."""
