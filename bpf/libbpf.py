"""The one place that calls libbpf: a typed ctypes binding of the few functions that Mantlet needs.

Signatures: libbpf `src/bpf.h` 0.8 to 1.6. Every failure is a BpfError with the errno and what to do. File descriptors are the
caller's to close.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bpf.capabilities import Capability, effective

ENVIRONMENT: Final = "MANTLET_LIBBPF"
"""Environment variable with the path of the libbpf to load."""
SYSTEM_LIBRARY: Final = "libbpf.so.1"
WHEEL: Final = "pylibbpf"
"""A distribution on PyPI whose shared object carries libbpf."""

_BPF_XDP: Final = 37
"""`enum bpf_attach_type`."""
XDP_GENERIC: Final = 1 << 1
XDP_NATIVE: Final = 1 << 2
"""`xdp_link_create` flags: in the network stack, before anything else is done with the frame; or in the driver."""

TEST_XDP_LIVE_FRAMES: Final = 1 << 1
"""`test_run` flag: XDP_PASS hands the frames to the network stack (BPF_F_TEST_XDP_LIVE_FRAMES)."""


class BpfError(Exception):
    """The kernel or the machine refused: the message says what, and what to do. `errno` is the system's error number, or None."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class _Options(ctypes.Structure):
    """Base of libbpf's option structs, whose first member is their own size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(sz=ctypes.sizeof(self), **values)


class _ProgLoadOptions(_Options):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_uint),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.POINTER(ctypes.c_int)),
        ("func_info", ctypes.c_char_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_char_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_void_p),
    )


class _BtfLoadOptions(_Options):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("log_buf", ctypes.c_void_p),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
    )


class _MapCreateOptions(_Options):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("map_ifindex", ctypes.c_uint32),
    )


class _MapBatchOptions(_Options):
    _fields_ = (("sz", ctypes.c_size_t), ("elem_flags", ctypes.c_uint64), ("flags", ctypes.c_uint64))


class _TestRunOptions(_Options):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class _LinkCreateOptions(_Options):
    """`struct bpf_link_create_opts`; the members behind `flags` are zero for XDP."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("flags", ctypes.c_uint32),
        ("iter_info", ctypes.c_void_p),
        ("iter_info_len", ctypes.c_uint32),
        ("target_btf_id", ctypes.c_uint32),
    )


class _LinkInfo(ctypes.Structure):
    """`struct bpf_link_info` of an XDP link, with room for what newer kernels tell."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("more", ctypes.c_uint32 * 11),
    )


class _ProgInfo(ctypes.Structure):
    """The beginning of `struct bpf_prog_info`."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", ctypes.c_uint32),
        ("xlated_prog_len", ctypes.c_uint32),
        ("jited_prog_insns", ctypes.c_uint64),
        ("xlated_prog_insns", ctypes.c_uint64),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("gpl_compatible", ctypes.c_uint32),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
        ("nr_jited_ksyms", ctypes.c_uint32),
        ("nr_jited_func_lens", ctypes.c_uint32),
        ("jited_ksyms", ctypes.c_uint64),
        ("jited_func_lens", ctypes.c_uint64),
        ("btf_id", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_func_info", ctypes.c_uint32),
        ("nr_line_info", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("jited_line_info", ctypes.c_uint64),
        ("nr_jited_line_info", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("jited_line_info_rec_size", ctypes.c_uint32),
        ("nr_prog_tags", ctypes.c_uint32),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel says about a loaded program."""

    id: int
    kind: int
    """`enum bpf_prog_type`."""
    tag: str
    """16 hexadecimal digits over the instructions: equal programs have equal tags."""
    name: str
    """At most 15 characters."""
    jited_size: int
    """Bytes of machine code; 0 without the JIT."""
    xlated_size: int
    """Bytes of eBPF after the verifier's rewriting."""
    loaded_at: int
    """Nanoseconds since boot."""
    runs: int
    """Counted while statistics are on (`Libbpf.counting_runs`)."""


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What holds an XDP program at an interface."""

    program: int
    """The program's id."""
    interface: int
    """The interface's index; 0 where it is gone."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a test run gave: the program's last return value, and the average of one run in nanoseconds."""

    __test__ = False

    returned: int
    duration: int


class Libbpf:
    """libbpf, loaded from `path`. Bytes in and out; keys and values in the kernel's layout."""

    def __init__(self, library: ctypes.CDLL, path: str) -> None:
        self.path = path
        self._library = library
        set_print = library.libbpf_set_print
        set_print.argtypes, set_print.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_print(None)  # its own warnings on standard error would only repeat our exceptions

    @property
    def version(self) -> str:
        function = self._library.libbpf_version_string
        function.restype = ctypes.c_char_p
        text: bytes = function()
        return text.decode().removeprefix("v")

    @functools.cached_property
    def possible_cpus(self) -> int:
        """How many values a per-CPU map holds for one key."""
        return self._call("count the CPUs", "libbpf_num_possible_cpus")

    # -- programs and BTF ----------------------------------------------------------------------------------------------

    def prog_load(
        self,
        kind: int,
        name: str,
        code: bytes,
        *,
        maps: Sequence[int] = (),
        btf: int = 0,
        func_info: tuple[bytes, int] = (b"", 8),
        line_info: tuple[bytes, int] = (b"", 16),
        flags: int = 0,
        log_level: int = 0,
        log_size: int = 0,
    ) -> tuple[int, int, str]:
        """Descriptor (or -1), errno (or 0) and the verifier's log, of at most `log_size` bytes.

        `func_info` and `line_info` are the records and the size of one. Does not raise: whether a refusal is the verifier's is the
        caller's to say."""
        log = ctypes.create_string_buffer(log_size) if log_size else None
        descriptors = (ctypes.c_int * len(maps))(*maps)
        options = _ProgLoadOptions(
            prog_btf_fd=btf,
            prog_flags=flags,
            fd_array=ctypes.cast(descriptors, ctypes.POINTER(ctypes.c_int)),
            log_level=log_level,
            log_size=log_size,
            log_buf=ctypes.cast(log, ctypes.c_void_p) if log is not None else None,
        )
        if btf:
            options.func_info, options.func_info_rec_size = func_info
            options.func_info_cnt = len(func_info[0]) // func_info[1]
            options.line_info, options.line_info_rec_size = line_info
            options.line_info_cnt = len(line_info[0]) // line_info[1]
        result = int(
            self._library.bpf_prog_load(
                kind, name.encode(), b"GPL", ctypes.c_char_p(code), ctypes.c_size_t(len(code) // 8), ctypes.byref(options)
            )
        )
        text = log.value.decode(errors="replace") if log is not None else ""
        return (result, 0, text) if result >= 0 else (-1, -result, text)

    def btf_load(self, blob: bytes) -> int:
        """Descriptor of the loaded BTF."""
        try:
            return self._call("load type information", "bpf_btf_load", ctypes.c_char_p(blob), ctypes.c_size_t(len(blob)), None)
        except BpfError as error:
            if error.errno == errno.EINVAL:  # ours: say what the kernel found
                raise AssertionError(f"the kernel refuses our BTF:\n{self._btf_log(blob)}") from error
            raise

    def _btf_log(self, blob: bytes) -> str:
        log = ctypes.create_string_buffer(1 << 16)
        options = _BtfLoadOptions(log_buf=ctypes.cast(log, ctypes.c_void_p), log_level=1, log_size=len(log))
        descriptor = int(self._library.bpf_btf_load(ctypes.c_char_p(blob), ctypes.c_size_t(len(blob)), ctypes.byref(options)))
        if descriptor >= 0:
            os.close(descriptor)
        return log.value.decode(errors="replace")

    def prog_info(self, descriptor: int) -> ProgramInfo:
        info = _ProgInfo()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        self._call("ask about a program", "bpf_obj_get_info_by_fd", descriptor, ctypes.byref(info), ctypes.byref(size))
        return ProgramInfo(
            id=info.id,
            kind=info.type,
            tag=bytes(info.tag).hex(),
            name=info.name.decode(errors="replace"),
            jited_size=info.jited_prog_len,
            xlated_size=info.xlated_prog_len,
            loaded_at=info.load_time,
            runs=info.run_cnt,
        )

    @contextlib.contextmanager
    def counting_runs(self) -> Iterator[None]:
        """The kernel counts the runs of all programs meanwhile (BPF_ENABLE_STATS with BPF_STATS_RUN_TIME, Linux 5.8)."""
        descriptor = self._call("count the runs of programs", "bpf_enable_stats", 0)
        try:
            yield
        finally:
            os.close(descriptor)

    def test_run(
        self,
        descriptor: int,
        data: bytes,
        *,
        context: bytes = b"",
        repeat: int = 1,
        flags: int = 0,
        batch_size: int = 0,
    ) -> TestRun:
        """BPF_PROG_TEST_RUN on `data`, which for every kind of program starts with an Ethernet header. `context` is a
        `struct __sk_buff` or `struct xdp_md` that says more. Raises BpfError, EINVAL where the kernel does not take the data."""
        options = _TestRunOptions(data_in=data, data_size_in=len(data), repeat=repeat, flags=flags, batch_size=batch_size)
        if context:
            options.ctx_in, options.ctx_size_in = context, len(context)
        self._call("run a program", "bpf_prog_test_run_opts", descriptor, ctypes.byref(options))
        return TestRun(options.retval, options.duration)

    # -- XDP -----------------------------------------------------------------------------------------------------------

    def xdp_link_create(self, program: int, interface: int, flags: int) -> int:
        """Descriptor of a link that holds the program at the interface of that index, in the calling thread's network namespace (Linux
        5.9). `flags`: XDP_FLAGS_SKB_MODE or XDP_FLAGS_DRV_MODE. Raises BpfError: EBUSY where another program is there, EOPNOTSUPP
        where the driver has no such mode."""
        options = _LinkCreateOptions(flags=flags)
        return self._call("attach an XDP program", "bpf_link_create", program, interface, _BPF_XDP, ctypes.byref(options))

    def link_update(self, link: int, program: int) -> None:
        """From now on the link holds this program, in one step. Raises BpfError, ENOLINK where the interface is gone."""
        self._call("replace an XDP program", "bpf_link_update", link, program, None)

    def link_info(self, link: int) -> LinkInfo:
        info = _LinkInfo()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        self._call("ask about a link", "bpf_obj_get_info_by_fd", link, ctypes.byref(info), ctypes.byref(size))
        return LinkInfo(info.prog_id, info.ifindex)

    # -- pins ----------------------------------------------------------------------------------------------------------

    def obj_pin(self, descriptor: int, path: Path) -> None:
        """Give a program or map a name in a BPF file system. Raises BpfError, EEXIST where it is taken."""
        self._call(f"pin {path}", "bpf_obj_pin", descriptor, ctypes.c_char_p(os.fsencode(path)))

    def obj_get(self, path: Path) -> int:
        """Descriptor of what is pinned at `path`. Raises BpfError, ENOENT where nothing is."""
        return self._call(f"open the pin {path}", "bpf_obj_get", ctypes.c_char_p(os.fsencode(path)))

    # -- maps ----------------------------------------------------------------------------------------------------------

    def map_create(self, kind: int, name: str, key_size: int, value_size: int, entries: int, *, flags: int = 0) -> int:
        options = _MapCreateOptions(map_flags=flags)
        name_bytes = ctypes.c_char_p(name.encode())
        what = f"create the map {name} of {entries} times {value_size} bytes"
        return self._call(what, "bpf_map_create", kind, name_bytes, key_size, value_size, entries, ctypes.byref(options))

    def map_update(self, descriptor: int, key: bytes, value: bytes, flags: int = 0) -> None:
        self._call("write a map", "bpf_map_update_elem", descriptor, ctypes.c_char_p(key), ctypes.c_char_p(value), ctypes.c_uint64(flags))

    def map_lookup(self, descriptor: int, key: bytes, size: int) -> bytes | None:
        """The value of `size` bytes (for a per-CPU map of all CPUs), None where the key is not there."""
        value = ctypes.create_string_buffer(size)
        try:
            self._call("read a map", "bpf_map_lookup_elem", descriptor, ctypes.c_char_p(key), value)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def map_delete(self, descriptor: int, key: bytes) -> bool:
        """Whether the key was there."""
        try:
            self._call("delete from a map", "bpf_map_delete_elem", descriptor, ctypes.c_char_p(key))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def map_update_batch(self, descriptor: int, keys: bytes, values: bytes, count: int) -> None:
        """`count` keys and values, each sort one behind the other."""
        counter = ctypes.c_uint32(count)
        options = _MapBatchOptions()
        self._call(
            "fill a map",
            "bpf_map_update_batch",
            descriptor,
            ctypes.c_char_p(keys),
            ctypes.c_char_p(values),
            ctypes.byref(counter),
            ctypes.byref(options),
        )

    def map_lookup_batch(self, descriptor: int, key_size: int, value_size: int, count: int) -> tuple[bytes, bytes]:
        """Up to `count` keys and values from the map's beginning, each sort one behind the other."""
        keys = ctypes.create_string_buffer(max(key_size * count, 1))
        values = ctypes.create_string_buffer(max(value_size * count, 1))
        counter = ctypes.c_uint32(count)
        after = ctypes.create_string_buffer(max(key_size, 8))
        options = _MapBatchOptions()
        try:
            self._call(
                "read a map",
                "bpf_map_lookup_batch",
                descriptor,
                None,
                after,
                keys,
                values,
                ctypes.byref(counter),
                ctypes.byref(options),
            )
        except BpfError as error:
            if error.errno != errno.ENOENT:  # ENOENT: that was all
                raise
        return keys.raw[: key_size * counter.value], values.raw[: value_size * counter.value]

    def map_freeze(self, descriptor: int) -> None:
        """From now on no process can write the map."""
        self._call("freeze a map", "bpf_map_freeze", descriptor)

    # -- within --------------------------------------------------------------------------------------------------------

    def _call(self, what: str, function: str, *arguments: Any) -> int:
        result = int(getattr(self._library, function)(*arguments))
        if result < 0:
            raise refused(what, -result)
        return result


def refused(what: str, number: int) -> BpfError:
    """The error for a bpf(2) call that failed with errno `number`; `what` completes "cannot ..."."""
    reason = f"cannot {what}: {os.strerror(number)}"
    match number:
        case errno.ENOSYS:
            return BpfError(f"{reason}; this kernel has no bpf(): it needs CONFIG_BPF_SYSCALL", number)
        case errno.EPERM | errno.EACCES if not permitted():
            return BpfError(f"{reason}; run as root, or with the capabilities CAP_BPF and CAP_NET_ADMIN", number)
        case errno.EPERM:
            soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
            if soft != resource.RLIM_INFINITY:
                hint = (
                    f"kernels before 5.11 count maps as locked memory, limited to {soft} bytes here: raise it (`ulimit -l unlimited`), or"
                )
                return BpfError(f"{reason}; {hint} see whether a container's seccomp profile or kernel lockdown forbids bpf()", number)
            return BpfError(f"{reason}; a container's seccomp profile or kernel lockdown forbids bpf()", number)
        case errno.ENOMEM:
            return BpfError(f"{reason}; free memory or raise the memory limit of this control group", number)
        case _:
            return BpfError(reason, number)


def permitted() -> bool:
    """Whether this process has the capabilities for bpf(): CAP_SYS_ADMIN, or CAP_BPF and CAP_NET_ADMIN."""
    held = effective()
    return Capability.SYS_ADMIN in held or held >= {Capability.BPF, Capability.NET_ADMIN}


@functools.cache
def libbpf() -> Libbpf:
    """libbpf: of the environment variable MANTLET_LIBBPF alone where it is set, else `libbpf.so.1`, else the one in the
    distribution pylibbpf. Raises BpfError where there is none."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        try:
            return _open(named)
        except OSError as error:
            raise BpfError(f"{ENVIRONMENT}={named} cannot be loaded: {error}") from error
    with contextlib.suppress(OSError):
        return _open(SYSTEM_LIBRARY)
    in_wheel = wheel_library()
    if in_wheel is not None:
        with contextlib.suppress(OSError):
            return _open(in_wheel)
    raise BpfError(
        f"libbpf is missing: install {SYSTEM_LIBRARY} (Debian: `apt install libbpf1`), "
        f"or `pip install {WHEEL}`, or set {ENVIRONMENT} to the path of a libbpf"
    )


def _open(path: str) -> Libbpf:
    """Raises OSError where `path` is no shared library, or no libbpf that is new enough."""
    library = ctypes.CDLL(path, use_errno=True)
    if not hasattr(library, "bpf_prog_load") or not hasattr(library, "bpf_prog_test_run_opts"):
        raise OSError("it is no libbpf of version 0.8 or later (bpf_prog_load is missing)")
    return Libbpf(library, path)


def wheel_library() -> str | None:
    """The shared object of the distribution pylibbpf, None where that is not installed. (Importing it would pull in LLVM.)"""
    from importlib import metadata  # noqa: PLC0415 - 40 ms, and hardly ever needed

    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name.startswith(f"{WHEEL}.") and ".so" in file.suffixes:
            return str(file.locate())
    return None
