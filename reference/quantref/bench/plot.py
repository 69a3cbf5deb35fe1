"""Two pictures: how time grows with the work, and how near each row comes to what bounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from quantref.bench.rows_whole import exponent
from quantref.bench.run import Run

SUFFIXES = (".png", ".svg")


def draw(run: Run, path: Path, suffix: str) -> None:
    """Write the picture in the format of the suffix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _growth(left, run)
    _roofline(right, run)
    m = run.machine
    quick = " · quick sizes" if run.settings.quick else ""
    title = f"{m['processor']} · {m['cores available']} cores{quick}" if m else "nothing measured"
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, format=suffix.removeprefix("."), dpi=150)


def _growth(axes: Any, run: Run) -> None:
    """Draw seconds over size, with a line of the fitted exponent."""
    axes.set(title="GPTQ: time over size", xlabel="n_out or n_in", ylabel="seconds")
    done = [outcome for outcome in run.outcomes if outcome.measured and outcome.measured.series]
    for outcome in done:
        series: dict[str, Any] = outcome.measured.series  # type: ignore[union-attr,assignment]
        sizes, seconds = np.array(series["sizes"], float), np.array(series["seconds"])
        power = exponent(list(sizes), list(seconds))
        shift = np.exp(np.mean(np.log(seconds) - power * np.log(sizes)))
        name, ((other, fixed),) = series["variable"], series["fixed"].items()
        (points,) = axes.loglog(sizes, seconds, "o")
        label = f"{name}^{power:.2f}, {other} {fixed} (limit {outcome.row.limit})"
        axes.loglog(sizes, shift * sizes**power, "--", color=points.get_color(), label=label)
    _legend_or_word(axes, bool(done), "no row growth-* was measured", "upper left")


def _roofline(axes: Any, run: Run) -> None:
    """Draw achieved rates below what arithmetic and memory allow."""
    axes.set(
        title="rows against the machine's own rates",
        xlabel="operations per byte of input and output",
        ylabel="GFlop/s",
    )
    done = [outcome for outcome in run.outcomes if outcome.measured and outcome.measured.work]
    reach = np.geomspace(0.1, 1e5, 200)
    for threads, rate in run.rates.items():
        if rate:
            roof = np.minimum(rate["sgemm"], reach * rate["copy"])
            label = f"{threads} thread{'s' * (threads > 1)}: rate of sgemm, bandwidth of a copy"
            axes.loglog(reach, roof, "-" if threads == 1 else "--", color="0.4", label=label)
    families: dict[str, str] = {}
    for k, outcome in enumerate(done):
        work = outcome.measured.work.as_json()  # type: ignore[union-attr]
        family = outcome.row.name.partition("-")[0]
        colour = families.setdefault(family, f"C{len(families)}")
        axes.loglog(work["intensity"], work["gflops"], "o", color=colour)
        axes.annotate(
            outcome.row.name,
            (work["intensity"], work["gflops"]),
            xytext=(5, 7 * (k % 3) - 7),  # rows of like work lie close together
            textcoords="offset points",
            fontsize=6,
            color=colour,
        )
    _legend_or_word(axes, bool(run.rates), "nothing was measured", "lower right")


def _legend_or_word(axes: Any, something: bool, word: str, place: str) -> None:
    if something:
        axes.legend(fontsize=8, loc=place)
    else:
        axes.text(0.5, 0.5, word, ha="center", transform=axes.transAxes)
