"""Container log drivers: writers that run in the shim, readers that run in the engine."""
