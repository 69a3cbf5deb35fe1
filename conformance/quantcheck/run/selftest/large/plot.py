"""Plots observed ÷ bound of correct implementations against the number of columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantcheck.run.selftest.large.record import REACHED_FROM, Record
from quantcheck.run.selftest.large.tables import reached, sizes_of
from quantref.errors import OutputError


def require_matplotlib() -> None:
    """Raise unless matplotlib is installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise OutputError('matplotlib: pip install "quantref[quantize]"', "no matplotlib", "")


def plot_ratios(records: Sequence[Record], path: Path) -> None:
    """Write the largest ratio of each requirement at each size, as SVG or PNG.

    There is a panel for each precision of the factor. A ratio is that of the condition in which it
    is smallest.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, factor in zip(panels, ("float32", "float64"), strict=True):
        _plot_panel(axes, records, factor)
        axes.set_title(f"factor in {factor}", fontsize=9)
    panels[0].set_ylabel("largest observed ÷ bound, worst condition")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right upper", fontsize=7, frameon=False, handlelength=4
    )
    figure.savefig(path)


def _plot_panel(axes: Any, records: Sequence[Record], factor: str) -> None:
    sizes = sizes_of(records)
    ratios = {n: reached([r for r in records if r["n_in"] == n], factor) for n in sizes}
    names = dict.fromkeys(name for own in ratios.values() for name in own)
    colours = list(dict.fromkeys(map(_requirement, names)))
    for name in names:
        shown = [n for n in sizes if name in ratios[n]]  # small matrices have one column block
        style = "--" if name.endswith("first") else "-"
        label = name.replace("first", "in the first block").replace("later", "in later blocks")
        smallest = [min(ratios[n][name]) for n in shown]
        colour = f"C{colours.index(_requirement(name))}"
        axes.plot(shown, smallest, style, marker="o", ms=3, label=label, c=colour)
    for limit, text in ((1.0, "the bound"), (REACHED_FROM, "least that is asked")):
        axes.axhline(limit, color="black", lw=0.8, ls=":")
        axes.annotate(text, (sizes[0], limit), fontsize=7, va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes], fontsize=7, rotation=60)
    axes.set_xlabel("columns, n_in")


def _requirement(name: str) -> str:
    return name.removesuffix(" first").removesuffix(" later")
