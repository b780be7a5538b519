"""nftables through netlink or libnftables."""
