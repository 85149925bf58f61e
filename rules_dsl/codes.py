"""The registry of diagnostics: every code with its title, its reason, a wrong example and a right one.

`mantlet explain CODE` and the error reference print it; tests/cases/ shows each one at work. E00xx syntax, E01xx types, E02xx names,
E03xx literals, E04xx limits, E05xx rule files, E06xx lists and files, E09xx enforcement, W warnings.
"""
# ruff: noqa: E501 (a sentence a line)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    title: str
    """What is wrong, in a few words."""
    explanation: str
    """Why it is refused, and what to do; a sentence or three."""
    wrong: str
    """An expression or a statement that gets this diagnostic."""
    right: str
    """The same, mended."""


_ALL = (
    # -- syntax
    Code("E0001", "something unexpected", "The text does not go on as the grammar allows at this place. The label says what could stand there.", "tcp.dstport = 80", "tcp.dstport == 80"),
    Code("E0002", "a string is not closed", "A string ends on the line on which it starts. A quote within it is written \\\", or the string is written raw: r#\"...\"#.", 'http.host == "example', 'tcp.payload contains "example"'),
    Code("E0003", "a character that means nothing", "No word, literal or sign of the language starts with this character. Strings are written with double quotes; `or` is `or` or `||`.", "tcp | udp", "tcp or udp"),
    Code("E0004", "brackets that do not match", "Every parenthesis, bracket and brace is closed, and closes one that is open.", "(tcp or udp", "(tcp or udp)"),
    Code("E0005", "the text ends too early", "Something must still follow at the end of the expression or the statement. A statement ends where the next line starts with a keyword.", "tcp.dstport ==", "tcp.dstport == 80"),
    Code("E0006", "nothing there", "An expression is at least one test; `true` matches everything.", "", "true"),
    Code("E0007", "not UTF-8", "Rule files and lists are UTF-8 text. A byte within a string is written \\xHH.", 'tcp.payload contains "<byte ff>"', 'tcp.payload contains "\\xff"'),
    Code("E0008", "a carriage return within a line", "Lines end with a line feed, or with a carriage return and a line feed. A carriage return alone looks like a line break in some editors and is none, so a rule behind a comment could be read and not be there.", "tcp # why<carriage return>and udp", "tcp and udp # why"),
    # -- types
    Code("E0101", "an operator that does not fit the type", "Each type takes its own operators: numbers and addresses are ordered and tested for membership, numbers are masked with `&`, text is searched.", 'tcp.dstport contains "8"', "tcp.dstport in {80 8080}"),
    Code("E0102", "a value where a test must stand", "Only a Boolean stands alone; any other value is compared with something.", "tcp.dstport and udp", "tcp.dstport == 80 and udp"),
    Code("E0103", "a value of the wrong type", "The two sides of a comparison are of one type. Numbers and addresses stand without quotes, text stands in quotes, and no field is compared with another.", 'tcp.dstport == "https"', "tcp.dstport == 443"),
    Code("E0104", "wrong arguments", "A function takes a fixed number of arguments of fixed types: `len`, `lower`, `upper`, `substring`, `starts_with` and `ends_with` look at text.", "len(tcp.dstport) > 2", "len(tcp.payload) > 2"),
    Code("E0105", "`any` or `all` of something else", "`any(...)` and `all(...)` take one comparison of a field that has many values in one packet.", "any(tcp.dstport == 80)", "any(ipv6.exthdr == 43)"),
    Code("E0106", "one value where a set must stand, or a set where one must", "`in` and `contains any` are followed by a set or a list; every other operator by one value.", "tcp.dstport in 80", "tcp.dstport in {80}"),
    Code("E0107", "a list of the wrong kind", "A list holds addresses, numbers or strings, and is compared with a field of that type.", 'list ports = { 80 443 }\nblock "x" when ip.src in $ports', 'list ports = { 80 443 }\nblock "x" when tcp.dstport in $ports'),
    # -- names
    Code("E0201", "an unknown field", "The field catalogue has no such field: `mantlet fields` lists them. Wireshark's names are accepted where they differ.", "tcp.dport == 80", "tcp.dstport == 80"),
    Code("E0202", "an unknown function", "The functions are len, lower, upper, substring, starts_with, ends_with, bit_slice, any and all.", 'startswith(tcp.payload, "GET")', 'starts_with(tcp.payload, "GET")'),
    Code("E0203", "an unknown name for a value", "Some fields compare with names (`ip.proto`, `ct.state`, countries), and this is none of them.", 'ip.proto == "tpc"', 'ip.proto == "tcp"'),
    Code("E0204", "brackets that do not fit the field", "`[*]` goes with fields of many values, a key with keyed fields; a part of text is taken with `substring`.", 'tcp.payload[0] == "a"', 'substring(tcp.payload, 0, 1) == "a"'),
    Code("E0205", "an unknown protocol to slice", "`bit_slice` counts bits from the start of one of these headers: ip, tcp, udp, icmp, icmpv6, sctp, gre, esp.", "bit_slice(http, 0, 8) == 71", "bit_slice(tcp, 0, 16) == 80"),
    # -- literals
    Code("E0301", "an unknown escape", "In a string a backslash starts one of \\\" \\\\ \\n \\r \\t \\xHH and \\OOO (three octal digits up to \\377). Raw strings, r\"...\", have none.", 'tcp.payload contains "a\\qb"', 'tcp.payload contains r"a\\qb"'),
    Code("E0302", "a malformed number, address or run of bytes", "Numbers are decimal without a leading zero, or 0x and hexadecimal digits; addresses have their usual spelling; bytes are pairs of hexadecimal digits with colons between.", "ip.src == 192.0.2.256", "ip.src == 192.0.2.25"),
    Code("E0303", "a network with host bits set", "In a CIDR every bit behind the prefix is zero. Whether the network or the one address was meant cannot be told.", "ip.src in {192.0.2.7/24}", "ip.src in {192.0.2.0/24}"),
    Code("E0304", "a reversed range", "A range goes from its lower to its upper end, both included.", "tcp.dstport in {443..80}", "tcp.dstport in {80..443}"),
    Code("E0305", "a number that the field never reaches", "A field has a largest value (65535 for a port); comparing it with more is a slip. A mask of 0 tests nothing.", "tcp.dstport == 70000", "tcp.dstport == 7000"),
    Code("E0306", "a range from one address family to the other", "Both ends of an address range are IPv4, or both are IPv6.", "ip.src in {192.0.2.1..2001:db8::1}", "ip.src in {192.0.2.1..192.0.2.9}"),
    Code("E0307", "a wildcard that cannot be read", "In a wildcard `*` stands for any run of bytes; two in a row say no more than one. \\* is a plain asterisk and \\\\ a backslash.", 'tcp.payload wildcard "a**b"', 'tcp.payload wildcard "a*b"'),
    Code("E0308", "a regular expression that is not supported", "Patterns are compiled to automata, so that no rule costs more than linear time. Look-around, back-references and possessive forms are beyond automata.", 'tcp.payload matches "(?=a)b"', 'tcp.payload matches "ab"'),
    Code("E0309", "a part that cannot be taken", "A bit slice is 1 to 32 bits wide and starts at most 2,040 bits behind its header's start; a substring's end lies behind its start.", "bit_slice(tcp, 0, 64) == 1", "bit_slice(tcp, 0, 32) == 1"),
    Code("E0310", "an empty set", "Nothing is in an empty set, so the test would always be false.", "tcp.dstport in {}", "tcp.dstport in {80}"),
    # -- limits
    Code("E0401", "an expression that is too long", "An expression has at most 4,096 characters unless the operator allows more. Long sets belong into lists.", "tcp.dstport in {1 2 3 ... }   (4,097 characters)", "tcp.dstport in $ports"),
    Code("E0402", "nesting that is too deep", "Parentheses, `not` and function calls nest at most 128 levels deep.", "((((...tcp...))))   (129 levels)", "tcp"),
    Code("E0403", "a list that is too long", "A set or a list holds at most 1,000,000 items unless the operator allows more.", 'list big = file "2-million-lines.txt"', 'list big = file "1-million-lines.txt"'),
    Code("E0404", "too many rules", "A rule file holds at most 100,000 rules unless the operator allows more.", 'block "100,001st" when tcp', 'block "all of them" when tcp'),
    Code("E0405", "a regular expression that is too large", "A pattern has at most 1,024 characters, and a count in it goes up to 1,000: the automaton grows with both.", 'tcp.payload matches "a{9999}"', 'tcp.payload matches "a{99}"'),
    # -- rule files
    Code("E0501", "an unknown statement", "A statement begins on a line of its own with one of the language's keywords.", 'blok "x" when tcp', 'block "x" when tcp'),
    Code("E0502", "two rules of one name", "Counters, logs, replays and tests refer to a rule by its name, which is unique in its file. A rule without a name is called #N, N being its place.", 'block "x" when tcp\nblock "x" when udp', 'block "x" when tcp\nblock "y" when udp'),
    Code("E0503", "a statement that stands twice", "A file has one tenant, one default and one hook.", "default allow\ndefault block", "default block"),
    Code("E0504", "an unknown hook", "Rules stand at prerouting (the default), forward, input or output.", "hook ingress", "hook prerouting"),
    Code("E0505", "no default", "What no rule ends is allowed, blocked or rejected.", "default log", "default block"),
    Code("E0506", "a rate that cannot be kept", "A limit is `to COUNT/UNIT`, the unit second, minute or hour, perhaps `per` an address (with a prefix length) or a number, perhaps with a `burst`.", 'limit "x" to 5/fortnight when udp', 'limit "x" to 5/hour when udp'),
    Code("E0507", "two modes", "A rule is enabled, `disabled` or in `monitor` mode.", 'disabled monitor block "x" when tcp', 'monitor block "x" when tcp'),
    Code("E0508", "no name of an interface", "An interface's name has 1 to 15 characters, without spaces, slashes and colons.", 'protect interface "a name that is too long"', 'protect interface "eth0"'),
    Code("E0509", "an unknown verdict", "A packet's verdict is allow, block, reject, log, limit or default.", 'expect drop from "a.pcap"', 'expect block from "a.pcap"'),
    Code("E0510", "a test of a rule that is not there", "The rule that an `expect` names stands in the same file.", 'block "x" when tcp\nexpect block "y" from "a.pcap"', 'block "x" when tcp\nexpect block "x" from "a.pcap"'),
    Code("E0511", "no name of a tenant", "A tenant's name has up to 32 letters, digits, `_` and `-`, and begins with a letter: it names chains, sets and pins in the kernel.", 'tenant "acme inc."', "tenant acme"),
    Code("E0512", "two lists of one name", "A list's name is unique in its file.", "list a = { 1 }\nlist a = { 2 }", "list a = { 1 2 }"),
    Code("E0513", "packet 0", "Packets of a capture are numbered from 1, as Wireshark does.", 'expect allow from "a.pcap" packet 0', 'expect allow from "a.pcap" packet 1'),
    Code("E0514", "no name of a rule", "A rule's name has 1 to 120 bytes of UTF-8, without quotes, backslashes and control characters: it becomes a comment in the kernel.", 'block "" when tcp', 'block "plain TCP" when tcp'),
    Code("E0515", "an early drop that could drop what is another's", "Where `early_drop` names interfaces, frames are judged by the first rules as soon as they are received. That is the same verdict only where the rules stand at prerouting, and where the destination address tells whose rules they are.", "early_drop eth0\nprotect interface \"eth0\"", "early_drop eth0\nprotect 192.0.2.0/24"),
    # -- lists and files
    Code("E0601", "a file that cannot be read", "Paths are relative to the folder of the rule file.", 'list a = file "nowhere.txt"', 'list a = file "blocked.txt"'),
    Code("E0602", "no item of a list", "An item is an address, a network, a range, a number or a quoted string; a list file holds one a line.", "list a = { example }", 'list a = { "example" }'),
    Code("E0603", "an unknown list", "A list is defined in the same file (above or below), or given with the expression.", "ip.src in $ofices", "ip.src in $offices"),
    Code("E0604", "a list of several kinds", "A list holds addresses, numbers or strings, and only one of these kinds.", "list a = { 192.0.2.1 80 }", "list a = { 192.0.2.1 192.0.2.80 }"),
    Code("E0605", "a broken geo file", "A geo file is an MMDB, a registry's delegated statistics, or CSV: the first line is network,country,asn; then a network, a country's two capital letters (or nothing), a number (or nothing).", "192.0.2.0/24,Germany,64496", "192.0.2.0/24,DE,64496"),
    Code("E0607", "no geo file", "Country and asnum fields look addresses up in the operator's own files, which the statement `geo` or the option --geo names.", 'ip.src.country == "DE"', 'geo "countries.mmdb"\nblock "x" when ip.src.country == "DE"'),
    Code("E0608", "geo files that lack what is asked for", "A country database has no AS numbers, and an ASN database no countries: name both. Registries' delegated statistics have countries only.", 'ip.src.asnum == 64496', 'geo "countries.mmdb" "asn.mmdb"\nblock "x" when ip.src.asnum == 64496'),
    # -- enforcement
    Code("E0901", "limit cannot be enforced yet", "`limit` is parsed and checked, and no part of the kernel side keeps rates yet.", 'limit "x" to 100/second per ip.src when udp', 'disabled limit "x" to 100/second per ip.src when udp'),
    Code("E0903", "connection state cannot be tested yet", "`ct.state` and `ct.direction` are parsed and checked; at the hook where rules stand connections are not tracked yet.", 'allow "x" when ct.state == "established"', 'allow "x" when tcp.flags.ack'),
    Code("E0904", "a rule that is too large to be enforced", "Written out as alternatives, the rule has more of them than the kernel's tables should hold. Two rules with half the alternatives each say the same.", 'block "x" when (A or B or ...) and (C or D or ...) and ...', 'block "x, 1" when A and ...\nblock "x, 2" when B and ...'),
    Code("E0905", "a test that nothing can make", "Some fields only nftables can test, some functions only eBPF, and this test wants both of one value.", 'block "x" when lower(interface.in) == "eth0"', 'block "x" when interface.in == "eth0"'),
    Code("E0906", "a pattern that is too large to be enforced", "A pattern becomes an automaton of at most 10,000 states. Most patterns need about as many as they have bytes; an exact count behind something that may begin anywhere doubles them with each byte that it counts, and {0,20} or {20,} in its place does not.", 'block "x" when tcp.payload matches "a.{20}b"', 'block "x" when tcp.payload matches "a.{0,20}b"'),
    # -- warnings
    Code("W0501", "a list that no rule uses", "The list is defined, and neither a rule nor a test names it.", "list a = { 1 }", 'list a = { 1 }\ncount "x" when ip.ttl in $a'),
    Code("W0502", "a rule that no packet reaches", "A rule above it ends the evaluation of every packet.", 'allow "all" when true\nblock "x" when tcp', 'block "x" when tcp\nallow "all" when true'),
    Code("W0503", "a country or AS number that no network has", "The geo files have no entry of it, so the test matches nothing. A slip of the pen, or a file that is too old.", 'geo "countries.mmdb"\nblock "x" when ip.src.country == "UK"', 'geo "countries.mmdb"\nblock "x" when ip.src.country == "GB"'),
    Code("W0504", "a shadowed rule", "Rules above it that end, one or several together, take every packet that the addresses, ports and protocol of this one allow. The help names one of these packets, and where it ends.", 'block "telnet" when tcp.dstport in {20..30}\nallow "office" when tcp.dstport == 23 and ip.src == 192.0.2.0/24', 'allow "office" when tcp.dstport == 23 and ip.src == 192.0.2.0/24\nblock "telnet" when tcp.dstport in {20..30}'),
)  # fmt: skip

CODES: Mapping[str, Code] = MappingProxyType({code.code: code for code in _ALL})
"""Every code, in order."""
