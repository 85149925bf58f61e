"""Names of the interfaces of a replay."""

import pytest

from firewall.replay.tap import Interface, interface_of


@pytest.mark.parametrize(
    ("name", "vlan", "expected"),
    [
        ("eth0", (), Interface("eth0", None)),
        ("eth0", (10,), Interface("eth0.10", 10)),
        ("eth0", (100, 200), Interface("eth0.100.200", 100)),
        ("eth0.10", (), Interface("eth0.10", 10)),
        ("eth0.0010", (), Interface("eth0.0010", 10)),
        ("eth0.10", (20,), Interface("eth0.10.20", 10)),
        ("eth0.5000", (), Interface("eth0.5000", None)),
        ("eth0.5000", (20,), Interface("eth0.5000.20", 20)),
        ("eth0.0", (), Interface("eth0.0", None)),
        ("wlx08beac0b176e.4000", (), Interface("wlx08beac@09a80", 4000)),
        ("10", (), Interface("10", None)),
        ("lo", (), Interface("lo", None)),
        ("all", (), Interface("all@a47be", None)),
        ("wlx08beac0b176e", (), Interface("wlx08beac0b176e", None)),
        ("wlx08beac0b176e", (4000,), Interface("wlx08beac@09a80", 4000)),
        ("wlx08beac0b176e", (4001,), Interface("wlx08beac@a3936", 4001)),
        (r"\Device\NPF_{708FC9B9-63D7-4D29-9669-D7FED6C1A52E}", (), Interface("_Device_N@89f79", None)),
        ("two words", (), Interface("two_words@b7f0f", None)),
        ("größe", (), Interface("gr__e@1a9eb", None)),
        ("mantlet~end", (), Interface("mantlet_e@1aa39", None)),
        ("", (), Interface("@69217", None)),
        ("..", (), Interface("..@86485", None)),
    ],
)
def test_interface_names(name, vlan, expected):
    found = interface_of(name, vlan)
    assert (found.vlan, len(found.name) <= 15) == (expected.vlan, True)
    assert found == expected
