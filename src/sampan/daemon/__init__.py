"""The `sampand` process: flags, start-up, listeners, signals, shutdown."""
