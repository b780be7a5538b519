"""Values of flags that have a grammar of their own: ports, mounts, networks, environment files, devices, health checks."""
