"""The compiler's middle and the kernel side: plan, nftables, transactions, replay, the command line."""
