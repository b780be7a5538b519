"""From an OCI config to a running process.

- `container.launch`: clone into new namespaces; in the child mounts → devices → credentials → execve
- `process.exec_into`: join the namespaces of a container; then credentials → execve
"""
