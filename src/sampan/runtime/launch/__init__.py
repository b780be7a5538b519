"""From an OCI config to a running process: `container.launch` for a container's init, `process.exec_into` for one more.

container   clone into new namespaces; in the child mounts → devices → credentials → execve
process     join the namespaces of a container; then credentials → execve
"""
