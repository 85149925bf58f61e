"""The capture reader and writers: every variant read back, every kind of damage named with its place."""

import gzip
import struct
import subprocess
from pathlib import Path

import pytest
from judge.corpus import CORPUS

from firewall.capture import CaptureError, Frame, read
from firewall.capture_write import PcapngFile, PcapngWriter, write_pcap

TIME = 1_700_000_000_123_456_789
FRAMES = [
    Frame(1, TIME, b"first frame", 1, 11, "eth0"),
    Frame(2, TIME + 1000, b"", 1, 60, "eth0"),
    Frame(3, TIME + 2000, bytes(range(200)), 1, 1500, "eth0"),
]


def captured(path: Path) -> tuple[list[Frame], CaptureError | None]:
    """The frames before the error, and the error."""
    frames = []
    try:
        for frame in read(path):
            frames.append(frame)
    except CaptureError as error:
        return frames, error
    return frames, None


# -- pcap --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("packed", [False, True])
def test_pcap_is_read_back_in_every_variant(tmp_path, order, nanoseconds, packed):
    path = tmp_path / "x.pcap"
    write_pcap(path, FRAMES, link_type=1, nanoseconds=nanoseconds, order=order)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    tick = 1 if nanoseconds else 1000
    assert list(read(path)) == [frame._replace(timestamp_ns=frame.timestamp_ns // tick * tick) for frame in FRAMES]


def test_pcap_of_kuznetsov_has_longer_record_headers(tmp_path):
    path = tmp_path / "x.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(header + 2 * (struct.pack("<IIIIIHBB", 5, 6, 3, 3, 1, 2048, 0, 0) + b"abc"))
    assert [(frame.timestamp_ns, frame.data) for frame in read(path)] == [(5_000_006_000, b"abc")] * 2


def test_pcap_before_version_2_3_has_its_lengths_swapped(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 2, 0, 0, 65535, 1) + struct.pack("<IIII", 0, 0, 60, 3) + b"abc")
    assert [(frame.data, frame.original_length) for frame in read(path)] == [(b"abc", 60)]


def test_the_frame_check_length_beside_the_link_type_is_ignored(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 0x14000001) + struct.pack("<IIII", 0, 0, 3, 3) + b"abc")
    assert next(read(path)).link_type == 1


def test_pcap_without_a_frame_is_no_error(tmp_path):
    path = tmp_path / "x.pcap"
    write_pcap(path, [], link_type=1)
    assert list(read(path)) == []


# -- pcapng ------------------------------------------------------------------------------------------------------------


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int, options: bytes = b"", order: str = "<", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def enhanced(index: int, time: int, data: bytes, order: str = "<") -> bytes:
    return block(6, struct.pack(order + "5I", index, time >> 32, time & 0xFFFFFFFF, len(data), len(data)) + data, order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_is_read_back(tmp_path, order):
    path = tmp_path / "x.pcapng"
    frames = [*FRAMES, Frame(4, TIME, b"raw", 101, 3, "tun0"), Frame(5, TIME, b"other", 1, 5, "wlan0")]
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, order)
        for frame in frames:
            writer.write(frame, "a comment" if frame.number != 2 else None)
    assert list(read(path)) == frames


def test_pcapng_sections_have_their_own_byte_order_and_interfaces(tmp_path):
    path = tmp_path / "x.pcapng"
    first = section("<") + interface(1, option(2, b"left")) + enhanced(0, 1, b"a")
    second = section(">") + interface(101, option(2, b"right", ">"), ">") + enhanced(0, 2, b"b", ">")
    path.write_bytes(first + second)
    assert [frame[:4] + frame[5:] for frame in read(path)] == [(1, 1000, b"a", 1, "left"), (2, 2000, b"b", 101, "right")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", 7_000),
        (option(9, b"\x09"), 7),
        (option(9, b"\x00"), 7_000_000_000),
        (option(9, b"\x03") + option(14, struct.pack("<q", 100)), 100_007_000_000),
        (option(9, b"\x8a"), 7 * 10**9 // 1024),
    ],
)
def test_pcapng_time_resolution(tmp_path, options, expected):
    path = tmp_path / "x.pcapng"
    path.write_bytes(section() + interface(1, options) + enhanced(0, 7, b"a"))
    assert next(read(path)).timestamp_ns == expected


def test_pcapng_interface_without_a_name_is_eth0(tmp_path):
    path = tmp_path / "x.pcapng"
    path.write_bytes(section() + interface(1, option(1, b"a comment") + option(0, b"") + option(2, b"not read")) + enhanced(0, 0, b"a"))
    assert next(read(path)).interface == "eth0"


def test_pcapng_simple_packets_are_cut_at_the_snap_length(tmp_path):
    path = tmp_path / "x.pcapng"
    simple = block(3, struct.pack("<I", 100) + b"abcdefgh")
    path.write_bytes(section() + interface(1, snap=8) + simple)
    assert [(frame.timestamp_ns, frame.data, frame.original_length) for frame in read(path)] == [(0, b"abcdefgh", 100)]


def test_pcapng_obsolete_packets_and_unknown_blocks(tmp_path):
    path = tmp_path / "x.pcapng"
    old = block(2, struct.pack("<HHIIII", 1, 9, 0, 7, 3, 60) + b"abc")
    path.write_bytes(section() + interface(1) + interface(101, option(2, b"two")) + block(5, bytes(12)) + block(0xBAD, b"x") + old)
    assert list(read(path)) == [Frame(1, 7000, b"abc", 101, 60, "two")]


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xd4\xc3", "neither pcap nor pcapng: it starts with the bytes d4 c3"),
        (b"\x7fELF\2\1\1", "neither pcap nor pcapng: it is an ELF program"),
        (b"snoop\0\0\0\0\0\0\2", "neither pcap nor pcapng: it is Sun snoop"),
        (b"hello, world", "neither pcap nor pcapng: it starts with the bytes 68 65 6c 6c"),
        (b"\xd4\xc3\xb2\xa1\2\0\4\0", "the file header is cut: 8 of 24 bytes at byte 0"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 0, 0, 0, 0, 1), "pcap version 1.0: versions from 2.0 are read at byte 4"),
        (b"\x0a\x0d\x0d\x0a", "cut in a block's header: 4 of 8 bytes are there, at byte 0, frame 1"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0abcd", "damaged: a section header with the byte-order magic 61 62 63 64 at byte 0, frame 1"),
        (section()[:20], "cut in a block: 20 of 28 bytes are there, at byte 0, frame 1"),
        (section() + struct.pack("<II", 6, 13), "damaged: a block claims a length of 13 bytes at byte 28, frame 1"),
        (
            section() + struct.pack("<II", 6, 0xFFFFFFF0),
            "damaged: a block claims 4294967280 bytes (at most 134283264 are possible) at byte 28, frame 1",
        ),
        (section() + enhanced(0, 0, b"a"), "damaged: a packet names interface 0, and 0 are described at byte 28, frame 1"),
        (section() + interface(1)[:-1] + b"\x01", "damaged: a block's length is 20 in front and 16777236 behind at byte 28, frame 1"),
        (section() + block(6, b"abcd"), "damaged: a block of type 6 is too short (16 bytes) at byte 28, frame 1"),
        (
            section() + interface(1) + block(6, struct.pack("<5I", 0, 0, 0, 99, 99) + b"a"),
            "damaged: a packet claims 99 bytes in a block of 36 at byte 48, frame 1",
        ),
    ],
)  # fmt: skip
def test_a_foreign_or_damaged_file_is_one_precise_line(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    frames, error = captured(path)
    assert frames == []
    assert str(error) == f"{path}: {message}"


def test_frames_before_a_cut_are_delivered(tmp_path):
    path = tmp_path / "x.pcap"
    write_pcap(path, FRAMES, link_type=1)
    path.write_bytes(path.read_bytes()[:-10])
    frames, error = captured(path)
    assert frames == FRAMES[:2]
    assert error is not None
    assert (error.what, error.offset, error.frame) == ("cut in a frame: 190 of 200 bytes are there,", 67, 3)


def test_a_cut_pcapng_delivers_what_came_before(tmp_path):
    path = tmp_path / "x.pcapng"
    with PcapngFile(path) as writer:
        for frame in FRAMES:
            writer.write(frame)
    path.write_bytes(path.read_bytes()[:-1])
    frames, error = captured(path)
    assert frames == FRAMES[:2]
    assert str(error).endswith("cut in a block: 231 of 232 bytes are there, at byte 160, frame 3")


def test_a_record_longer_than_any_frame_is_damage(tmp_path):
    path = tmp_path / "x.pcap"
    write_pcap(path, FRAMES[:1], link_type=1)
    path.write_bytes(path.read_bytes() + struct.pack("<IIII", 0, 0, 262_145, 262_145))
    frames, error = captured(path)
    assert frames == FRAMES[:1]
    assert str(error).endswith("damaged: a record claims 262145 bytes (at most 262144 are possible) at byte 51, frame 2")


def test_a_cut_gzip_stream_delivers_what_it_holds(tmp_path):
    path = tmp_path / "x.pcap.gz"
    plain = tmp_path / "x.pcap"
    many = [Frame(n, n, bytes([n % 251]) * (n % 97), 1, 1500, "eth0") for n in range(1, 5000)]
    write_pcap(plain, many, link_type=1)
    packed = gzip.compress(plain.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    frames, error = captured(path)
    assert 1000 < len(frames) < 4999
    assert frames == many[: len(frames)]
    assert error is not None
    assert error.what == "the gzip stream is cut short"


def test_a_damaged_gzip_stream_is_an_error(tmp_path):
    path = tmp_path / "x.pcap.gz"
    plain = tmp_path / "x.pcap"
    write_pcap(plain, FRAMES, link_type=1)
    path.write_bytes(gzip.compress(plain.read_bytes())[:-8] + bytes(8))
    _, error = captured(path)
    assert error is not None
    assert error.what.startswith("the gzip stream is damaged (CRC check failed")


@pytest.mark.parametrize(("make", "message"), [(False, "no such file or directory"), (True, "is a directory")])
def test_a_path_that_is_no_file(tmp_path, make, message):
    path = tmp_path / "x"
    if make:
        path.mkdir()
    _, error = captured(path)
    assert str(error) == f"{path}: cannot be opened: {message}"


def test_a_pcap_holds_one_link_type(tmp_path):
    with pytest.raises(ValueError, match="frame 1 has link type 1, and the pcap file 101"):
        write_pcap(tmp_path / "x.pcap", FRAMES, link_type=101)


# -- against Wireshark -------------------------------------------------------------------------------------------------


def tshark(path: Path, *fields: str) -> list[list[str]]:
    options = [word for name in fields for word in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("tshark is not installed")
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_wireshark_shows_the_packet_comments(tmp_path):
    path = tmp_path / "x.pcapng"
    with PcapngFile(path) as writer:
        writer.write(FRAMES[0], 'block by "DNS ANY"')
        writer.write(FRAMES[2])
        writer.write(Frame(3, TIME, b"\x45", 101, 1, "tun0"), "größer")
    assert tshark(path, "frame.time_epoch", "frame.len", "frame.interface_name", "frame.comment") == [
        ["1700000000.123456789", "11", "eth0", 'block by "DNS ANY"'],
        ["1700000000.123458789", "1500", "eth0", ""],
        ["1700000000.123456789", "1", "tun0", "größer"],
    ]


def test_every_capture_of_the_corpus_has_wiresharks_frame_count():
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is missing")
    paths = sorted(path for path in CORPUS.glob("*/*") if path.suffix in (".pcap", ".pcapng", ".cap"))
    try:
        done = subprocess.run(["capinfos", "-c", "-M", "-r", "-T", *map(str, paths)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("capinfos is not installed")
    expected = {Path(name): int(count) for name, count in (line.split("\t") for line in done.stdout.splitlines())}
    results = {path: captured(path) for path in paths}
    assert {path: len(frames) for path, (frames, _) in results.items()} == expected
    damaged = {path.name: error.what for path, (_, error) in results.items() if error is not None}
    assert damaged == {"fuzz-2021-10-13.pcap": "cut in a record's header: 2 of 16 bytes are there,"}


def test_frames_of_the_corpus_are_wiresharks():
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is missing")
    for path in sorted(CORPUS.glob("nDPI/*.pcapng"))[::12]:
        theirs = tshark(path, "frame.number", "frame.time_epoch", "frame.cap_len", "frame.len")
        ours = [
            [str(f.number), f"{f.timestamp_ns // 10**9}.{f.timestamp_ns % 10**9:09}", str(len(f.data)), str(f.original_length)]
            for f in read(path)
        ]
        assert ours == theirs, path
