"""The values that the generated packets and the generated expressions share, so that tests hit packets and just miss them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

V4_ADDRESSES = tuple(
    int(IPv4Address(text))
    for text in (
        "0.0.0.0", "10.0.0.0", "10.0.0.1", "10.255.255.255", "11.0.0.0", "127.0.0.1", "192.0.2.0", "192.0.2.1", "192.0.2.127",
        "192.0.2.128", "192.0.2.255", "192.0.3.0", "198.51.100.7", "203.0.113.9", "224.0.0.1", "255.255.255.255",
    )
)  # fmt: skip

V6_ADDRESSES = tuple(
    int(IPv6Address(text))
    for text in (
        "::", "::2", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8::1",
        "2001:db8::ffff:ffff", "2001:db8::1:0:0", "2001:db8:0:1::", "2001:db8:ac::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::", "fe80::1", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    )
)  # fmt: skip
"""None that the kernel refuses as source or destination."""

V6_GROUPS = tuple(int(IPv6Address(text)) for text in ("ff02::1", "ff05::2", "ff0e::db8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
"""Multicast addresses, for destinations."""

PORTS = (0, 1, 22, 53, 80, 255, 256, 443, 1023, 1024, 5060, 8080, 32767, 32768, 49152, 65534, 65535)

WORDS = (
    b"a", b"ab", b"abc", b"aaaa", b"abab", b"ababc", b"GET ", b"GET / HTTP/1.1\r\n", b"Host: example.com", b"evil", b"EVIL", b"Evil",
    b"devil", b"friendly-scanner", b"sipvicious", b"INVITE sip:1@x SIP/2.0", b"SIP/2.0 200 OK", b"\x00", b"\x00\x00\x00\x01",
    b"\xff\xff\xff\xffTSource Engine Query\x00", b"\x17\x03\x03", b"SSH-2.0-OpenSSH_9.2", b"\xc3\xbc\xdf", b"[@`{",
    b"0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF!",
)  # fmt: skip
"""Byte strings of 1 to 65 bytes: overlapping, of both cases, beside the letters in ASCII, with NUL and with bytes above 127."""

MARKS = (0, 1, 2, 0x10, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

INTERFACES = ("eth0", "eth1", "wan", "lan-long-name-1")

VLAN_IDS = (1, 2, 10, 100, 2048, 4094)

COLOS = (("ams1", "weur"), ("sin2", "apac"), ("", ""))
"""Name and region of the judging node."""

LISTS = {
    "offices": (((0x0A000000, 0x0AFFFFFF), (0xC0000200, 0xC000027F)), ((0x20010DB8 << 96, (0x20010DB8 << 96) + (1 << 96) - 1),)),
    "blocked": (((0xC6336407, 0xC6336407), (0xCB007109, 0xCB007109)), ()),
}
"""Named address lists: IPv4 ranges and IPv6 ranges."""
