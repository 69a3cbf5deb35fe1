"""Plots observed ÷ bound of correct implementations against the number of columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantref.errors import OutputError


def require_matplotlib() -> None:
    """Raise unless matplotlib is installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise OutputError('matplotlib: pip install "quantref[quantize]"', "no matplotlib", "")


def plot_ratios(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the largest ratio of each requirement at each size, as SVG or PNG."""
    from matplotlib.figure import Figure

    right = [row for row in rows if "ratios" in row]
    sizes = sorted({row["n_in"] for row in right})
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(key for row in right for key in row["ratios"]))
    colours = list(
        dict.fromkeys(name.removesuffix(" first").removesuffix(" later") for name in names)
    )
    for name in names:
        colour = f"C{colours.index(name.removesuffix(' first').removesuffix(' later'))}"
        largest = {
            n: max(row["ratios"].get(name, 0.0) for row in right if row["n_in"] == n) for n in sizes
        }
        shown = [n for n in sizes if largest[n] > 0]  # small matrices have one column block
        style = "--" if name.endswith("first") else "-"
        label = name.replace("first", "in the first block").replace("later", "in later blocks")
        axes.plot(
            shown, [largest[n] for n in shown], style, marker="o", ms=3, label=label, c=colour
        )
    for limit, text in ((1.0, "the bound"), (0.05, "least that is asked")):
        axes.axhline(limit, color="black", lw=0.8, ls=":")
        axes.annotate(text, (sizes[0], limit), fontsize=7, va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xlabel("columns, n_in")
    axes.set_ylabel("largest observed ÷ bound")
    figure.legend(loc="outside right upper", fontsize=7, frameon=False, handlelength=4)
    figure.savefig(path)
