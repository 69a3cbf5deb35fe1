"""Two pictures: how time grows with the work, and how near each row comes to what bounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.speed.rows_whole import exponent
from tests.benchmarks.speed.run import Run

SUFFIXES = (".png", ".svg")


def draw(run: Run, path: Path, suffix: str) -> None:
    """Write the picture in the format of the suffix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 7), layout="constrained")
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
    points = [(o.row.name, o.measured.work.as_json()) for o in done]  # type: ignore[union-attr]
    points.sort(key=lambda point: point[1]["gflops"])
    families: dict[str, str] = {}
    for k, (name, work) in enumerate(points):
        colour = families.setdefault(name.partition("-")[0], f"C{len(families)}")
        axes.loglog(work["intensity"], work["gflops"], "o", color=colour, markersize=4)
        axes.annotate(  # in a column of their own: rows of like work lie on top of each other
            f"{name}  {work['gflops']:.3g}",
            (work["intensity"], work["gflops"]),
            xytext=(1.04, (k + 0.5) / len(points)),
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": colour, "relpos": (0, 0.5)},
        )
    _legend_or_word(axes, bool(run.rates), "nothing was measured", "upper left")


def _legend_or_word(axes: Any, something: bool, word: str, place: str) -> None:
    if something:
        axes.legend(fontsize=8, loc=place)
    else:
        axes.text(0.5, 0.5, word, ha="center", transform=axes.transAxes)
