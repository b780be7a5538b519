"""rtnetlink messages, packed by hand for the container's hot path."""
