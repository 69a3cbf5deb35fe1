"""The report of a quantized model as a page: one file, no network, no scripts."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantref.cli.table import HEADS, STYLES, cells, closing, skipped
from quantref.formats.files import write_text
from quantref.models import LayerRecord, Report
from quantref.models.figures import EDGES

TEMPLATE = Path(__file__).with_name("report.html.jinja")
COLOURS = {"good": "#2f7d4f", "bad": "#b3261e", "plain": "#888888", "bound": "#c98a1b"}


def write_page(report: Report, path: Path) -> None:
    """Write the page, completely or not at all.

    Parameters
    ----------
    report : Report
    path : Path
        Ends with ".html".
    """
    write_text(path, page(report))


def page(report: Report) -> str:
    """Return the page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    calibrated = [layer for layer in report.layers if layer.hessian is not None]
    return template.render(
        report=report,
        skipped=skipped(report),
        closing=closing(report),
        heads=_verdict_first(HEADS),
        rows=[(_verdict_first(cells(layer)), _place(k)) for k, layer in enumerate(report.layers)],
        styles={verdict: style.split()[-1] for verdict, style in STYLES.items()},
        losses=svg(lambda figure: draw_losses(figure, calibrated), 9, _height(calibrated))
        if calibrated
        else None,
        details=[
            (_place(k), layer, None if layer.hessian is None else _picture(layer))
            for k, layer in enumerate(report.layers)
        ],
    )


def _picture(layer: LayerRecord) -> str:
    return svg(lambda figure: draw_layer(figure, layer), 9, 2.6)


def _verdict_first(values: Sequence[str]) -> list[str]:
    """Put the verdict right after the name, so that a narrow screen shows it."""
    name, *figures, verdict = values
    return [name, verdict, *figures]


def _place(k: int) -> str:
    return f"layer-{k}"


def _height(layers: Sequence[LayerRecord]) -> float:
    return 1.2 + 0.22 * len(layers)


def svg(draw: Callable[[Any], None], width: float, height: float) -> str:
    """Return a figure as an SVG element; the same data give the same text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "quantref", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(width, height))
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def draw_losses(figure: Any, layers: Sequence[LayerRecord]) -> None:
    """Draw the loss and its bound for each layer, as shares of the loss of plain rounding."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    places = np.arange(len(layers))[::-1]
    plain = np.array([max(layer.figures.plain_loss, 1e-300) for layer in layers])
    loss = np.array([layer.figures.loss for layer in layers]) / plain
    bound = np.array([layer.figures.bound for layer in layers]) / plain
    good = [layer.verdict == "certified" for layer in layers]
    colours = [COLOURS["good" if fine else "bad"] for fine in good]
    axes.hlines(places, loss, 1, color=colours, linewidth=1, alpha=0.6)
    axes.scatter(loss, places, color=colours, s=26, label="loss")
    axes.plot(bound, places, "|", color=COLOURS["bound"], markersize=9, mew=2, label="bound")
    axes.axvline(1, color=COLOURS["plain"], linestyle="--", linewidth=1, label="plain rounding")
    axes.set_yticks(places, [layer.name for layer in layers])
    axes.set_ylim(-0.6, len(layers) - 0.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("tr((W − Ŵ) H (W − Ŵ)ᵀ), as a share of plain rounding's")
    figure.legend(loc="outside upper right", ncols=3, frameon=False)


def draw_layer(figure: Any, layer: LayerRecord) -> None:
    """Draw the histogram of residuals with the box of half a step, and the pivots."""
    # Fixed margins, since an automatic layout takes longer than the quantization.
    left, right = figure.subplots(
        1, 2, gridspec_kw={"left": 0.07, "right": 0.99, "bottom": 0.2, "top": 0.9, "wspace": 0.2}
    )
    counts = np.array(layer.figures.residuals[1:-1], float)
    beyond = layer.figures.residuals[0] + layer.figures.residuals[-1]
    total = max(sum(layer.figures.residuals), 1)
    left.stairs(counts / total, EDGES, fill=True, color=COLOURS["good"], alpha=0.7)
    left.axvspan(-0.5, 0.5, color=COLOURS["plain"], alpha=0.15, linewidth=0)
    left.set_xlim(-1, 1)
    left.set_xticks([-1, -0.5, 0, 0.5, 1])
    left.set_xlabel("(w′ − ŵ) / s: within ±½ unless the code is clipped")
    left.set_ylabel("share of codes")
    if beyond:
        left.set_title(f"{beyond:,} beyond ±1 (clipped)", fontsize=8)
    pivots = np.array(() if layer.hessian is None else layer.hessian.pivots)
    right.set_yscale("log", subs=[])
    right.plot(np.linspace(0, layer.n_in - 1, len(pivots)), pivots, color=COLOURS["bound"])
    right.set_xlabel("column, in processing order")
    right.set_ylabel("pivot 1 / U²")
