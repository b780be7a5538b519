"""nftables over raw netlink: expressions and transactions, packed by hand. Stdlib only."""
