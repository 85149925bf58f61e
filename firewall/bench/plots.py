"""Plots of the classification benchmark, as PNG files. Takes matplotlib (the extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matplotlib import pyplot as plt
from matplotlib.colors import TABLEAU_COLORS

from firewall.bench.classification import LISTS, Measured, Setting
from firewall.bench.contenders import (
    IPSET,
    IPTABLES_LEGACY,
    IPTABLES_NFT,
    MANTLET,
    NFT,
    NFT_BY_PROTOCOL,
    NFT_MAP,
    NFT_OPTIMIZED,
    NFT_SET,
    NFT_TREE,
)
from firewall.bench.results import Results, contenders

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = dict(
    zip(
        (MANTLET, NFT, NFT_BY_PROTOCOL, NFT_OPTIMIZED, NFT_MAP, NFT_SET, IPTABLES_NFT, IPTABLES_LEGACY, IPSET, NFT_TREE),
        ("black", *TABLEAU_COLORS),
        strict=False,
    )
)
"""By contender."""
LEAST: Final = 10.0
"""Nanoseconds: what is less is drawn so, as the axis is logarithmic."""
COLUMNS: Final = 3


def draw(results: Results, folder: Path) -> None:
    """One picture a set, named after it: the cost a packet by each trace, the times to load and to change, and the kernel's memory."""
    plt.switch_backend("Agg")  # which takes no screen
    for name in results.names:
        sizes = results.named(name)
        kinds = tuple(sizes[0].packets)
        rows = -(-(len(kinds) + 3) // COLUMNS)
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(4.2 * COLUMNS, 3.6 * rows), layout="constrained")
        panels = list(grid.flat)
        for panel, kind in zip(panels, kinds, strict=False):
            _costs(panel, sizes, kind)
        load, change, memory, *unused = panels[len(kinds) :]
        _settings(load, sizes, "load: seconds", lambda setting: setting.load)
        _settings(change, sizes, "one change: milliseconds", lambda setting: None if setting.change is None else setting.change * 1000)
        _settings(memory, sizes, "memory of the kernel: MiB", lambda setting: setting.kernel_memory / 2**20)
        for panel in unused:
            panel.set_axis_off()
        for panel in panels[: len(panels) - len(unused)]:
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xlabel("prefixes" if name == LISTS else "rules")
            panel.grid(visible=True, which="major", linewidth=0.4)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(7, max(1, len(labels))), frameon=False)
        figure.suptitle(name)
        figure.savefig(folder / f"{name}.png", dpi=90, metadata={"Software": None})
        plt.close(figure)


def _costs(panel: Axes, sizes: Sequence[Measured], kind: str) -> None:
    """The median of each contender, with the spread as bars."""
    for name in contenders(sizes):
        points = [(each.asked, cost) for each in sizes for cost in each.costs if (cost.contender, cost.trace) == (name, kind)]
        if points:
            middle = [max(LEAST, cost.added) for _, cost in points]
            below = [here - max(LEAST, min(here, cost.lowest)) for here, (_, cost) in zip(middle, points, strict=True)]
            above = [max(0.0, cost.highest - here) for here, (_, cost) in zip(middle, points, strict=True)]
            panel.errorbar([count for count, _ in points], middle, yerr=[below, above], label=name, capsize=2, **_style(name))
    panel.set_title(f"{kind}: ns added a packet", fontsize=10)


def _settings(panel: Axes, sizes: Sequence[Measured], title: str, pick: Callable[[Setting], float | None]) -> None:
    for name in contenders(sizes):
        points = list(_picked(sizes, name, pick))
        if points:
            panel.plot([count for count, _ in points], [value for _, value in points], label=name, **_style(name))
    panel.set_title(title, fontsize=10)


def _picked(sizes: Sequence[Measured], name: str, pick: Callable[[Setting], float | None]) -> Iterator[tuple[int, float]]:
    for each in sizes:
        for setting in each.settings:
            if setting.contender == name and (value := pick(setting)) is not None and value > 0:
                yield each.asked, value


def _style(name: str) -> dict[str, Any]:
    return {"color": COLOURS[name], "linewidth": 2.2 if name == MANTLET else 1.2, "marker": "o", "markersize": 4}
