"""Networks: drivers, addresses, ports, names."""
