"""Benchmarks: what rules cost a packet as Mantlet compiles them, beside plain nftables and iptables, in one run; and the speed of
the replay engines. Ratios are what to read: absolute times belong to the machine."""
