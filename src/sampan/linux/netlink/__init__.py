"""Raw netlink: messages, sockets, rtnetlink requests, network namespaces. Stdlib only."""
