"""The binding: where libbpf comes from, maps, and what an environment that refuses is told. Needs root."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpf import libbpf as binding
from bpf.image import MapKind, MapSpec
from bpf.libbpf import BpfError, Libbpf, libbpf
from bpf.maps import create_map

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
LOAD = """
import sys
from bpf.assembler import Assembler
from bpf.isa import R0
from bpf.libbpf import BpfError, libbpf
from bpf.program import load
asm = Assembler()
asm.mov(R0, 0)
asm.exit()
try:
    with load(asm.assemble()) as program:
        print(libbpf().path, program.run(bytes(20)))
except BpfError as error:
    print(error)
"""


def _python(script: str, *, before: tuple[str, ...] = (), **environment: str) -> str:
    """What `script` prints in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != binding.ENVIRONMENT}
    paths = os.pathsep.join((environment.pop("PYTHONPATH", ""), str(ROOT))).strip(os.pathsep)
    return subprocess.run(
        [*before, sys.executable, "-c", script], env=kept | {"PYTHONPATH": paths} | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def _system_library() -> str:
    with open("/proc/self/maps", encoding="utf-8") as rows:
        libbpf()
        return next(row.split()[-1] for row in rows if "libbpf.so" in row)


# -- where it comes from -----------------------------------------------------------------------------------------------


def test_the_environment_variable_comes_first() -> None:
    path = _system_library()
    assert _python(LOAD, MANTLET_LIBBPF=path) == f"{path} 0"


def test_a_wrong_environment_variable_is_named() -> None:
    assert _python(LOAD, MANTLET_LIBBPF="/nowhere/libbpf.so").startswith("MANTLET_LIBBPF=/nowhere/libbpf.so cannot be loaded: ")


def test_a_library_that_is_not_libbpf_is_named() -> None:
    answer = _python(LOAD, MANTLET_LIBBPF="libc.so.6")
    assert answer == "MANTLET_LIBBPF=libc.so.6 cannot be loaded: it is no libbpf of version 0.8 or later (bpf_prog_load is missing)"


def test_the_wheel_comes_after_the_system(tmp_path: Path) -> None:
    """A distribution laid out as pylibbpf is, with a libbpf in it."""
    (tmp_path / "pylibbpf").mkdir()
    inside = tmp_path / "pylibbpf" / "pylibbpf.cpython-311-x86_64-linux-gnu.so"
    shutil.copy(os.path.realpath(_system_library()), inside)
    information = tmp_path / "pylibbpf-0.0.6.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pylibbpf\nVersion: 0.0.6\n")
    (information / "RECORD").write_text(f"pylibbpf/__init__.py,,\npylibbpf.libs/libz-1.so.1,,\n{inside.relative_to(tmp_path)},,\n")
    without_system = "from bpf import libbpf\nlibbpf.SYSTEM_LIBRARY = 'libbpf.so.none'\n"
    assert _python(LOAD, PYTHONPATH=str(tmp_path)) == "libbpf.so.1 0"
    assert _python(without_system + LOAD, PYTHONPATH=str(tmp_path)) == f"{inside} 0"


def test_no_libbpf_names_the_three_ways() -> None:
    answer = _python("from bpf import libbpf\nlibbpf.SYSTEM_LIBRARY, libbpf.WHEEL = 'libbpf.so.none', 'no-such-wheel'\n" + LOAD)
    assert "libbpf is missing" in answer
    assert all(way in answer for way in ("apt install libbpf1", "pip install", "MANTLET_LIBBPF"))


def test_the_version_is_known() -> None:
    assert tuple(int(part) for part in libbpf().version.split(".")[:2]) >= (0, 8)


# -- refusals of the environment ---------------------------------------------------------------------------------------


def test_without_capabilities_the_error_says_which() -> None:
    answer = _python(LOAD, before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    assert "Operation not permitted" in answer
    assert "run as root, or with the capabilities CAP_BPF and CAP_NET_ADMIN" in answer


def test_with_capabilities_the_limit_on_locked_memory_is_named() -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))\n"
    script = limited + "from bpf.libbpf import refused; print(refused('do', 1))"
    assert "limited to 65536 bytes" in _python(script)


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSYS, "CONFIG_BPF_SYSCALL"), (errno.ENOMEM, "free memory"), (errno.EEXIST, "cannot do: File exists")],
)
def test_a_refusal_says_what_to_do(number: int, told: str) -> None:
    error = binding.refused("do", number)
    assert told in str(error)
    assert error.errno == number


# -- maps --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def library() -> Libbpf:
    return libbpf()


def test_a_hash_map_keeps_and_forgets() -> None:
    with create_map(MapSpec("kept", MapKind.HASH, key_size=3, value_size=5, entries=4)) as table:
        assert table.lookup(b"abc") is None
        table.update(b"abc", b"12345")
        table.update(b"xyz", b"67890")
        assert table.lookup(b"abc") == b"12345"
        assert sorted(table.items()) == [(b"abc", b"12345"), (b"xyz", b"67890")]
        assert (table.delete(b"abc"), table.delete(b"abc")) == (True, False)


@pytest.mark.parametrize("entries", [1, 2, 1000])
def test_an_array_starts_with_its_initial_values(entries: int) -> None:
    initial = bytes(range(256)) * 4
    spec = MapSpec("table", value_size=16, entries=entries, initial=initial[: 16 * entries - 3])
    with create_map(spec) as table:
        assert b"".join(value for _, value in table.items())[: len(spec.initial)] == spec.initial
        assert table.lookup((entries - 1).to_bytes(4, "little")) == (spec.initial + bytes(16 * entries))[16 * entries - 16 : 16 * entries]


def test_a_large_table_is_one_value() -> None:
    table = os.urandom(3 << 20)
    with create_map(MapSpec("automaton", value_size=len(table), initial=table, read_only=True)) as created:
        assert created.lookup(bytes(4)) == table


def test_a_read_only_map_is_frozen() -> None:
    with create_map(MapSpec("fixed", initial=b"12345678", read_only=True)) as table:
        with pytest.raises(BpfError, match="write a map") as caught:
            table.update(bytes(4), bytes(8))
        assert caught.value.errno == errno.EPERM


def test_a_per_cpu_map_has_a_value_for_each_cpu(library: Libbpf) -> None:
    with create_map(MapSpec("scratch", MapKind.PERCPU_ARRAY, value_size=5)) as table:
        assert table.value_size == 8 * library.possible_cpus
        assert table.lookup(bytes(4)) == bytes(8 * library.possible_cpus)


def test_an_impossible_map_is_refused_by_name() -> None:
    with pytest.raises(BpfError, match="create the map odd of 1 times 8 bytes: Invalid argument"):
        create_map(MapSpec("odd", key_size=5))


def test_closing_twice_is_fine() -> None:
    table = create_map(MapSpec("short"))
    table.close()
    table.close()
    assert table.fd == -1
