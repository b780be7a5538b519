"""BuildKit's gRPC API in terms of our builder: messages, the client's session, and how a build shows itself."""
