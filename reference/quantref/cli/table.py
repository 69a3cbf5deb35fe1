"""The report of a quantized model on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantref.models import LayerRecord, Report

STYLES = {
    "certified": "green",
    "weak": "bold yellow",
    "failed": "bold red",
    "plain rounding": "bold red",
    "not judged": "yellow",
}


def ratio(one: float, other: float) -> str:
    """Return one / other for a table; a dash if it is undefined.

    Examples
    --------
    >>> ratio(1.0, 3.0), ratio(0.0, 0.0)
    ('0.333', '–')
    """
    return f"{one / other:.3f}" if other > 0 else "–"


def cells(record: LayerRecord) -> list[str]:
    """Return the cells of a layer's row, for the table and the page."""
    f, h = record.figures, record.hessian
    return [
        record.name,
        f"{record.n_out} × {record.n_in}",
        f"{record.tokens:,}" if record.tokens else "–",
        ratio(f.loss, f.plain_loss) if h is not None else "–",
        ratio(f.loss, f.bound),
        f"{f.clipped / f.codes:.1%}" if f.codes else "–",
        f"{h.condition:.2g}" if h is not None else "–",
        f"{h.added:.2g}" if h is not None else "–",
        f"{f.seconds:.2f}",
        record.verdict,
    ]


HEADS = (
    "layer",
    "n_out × n_in",
    "tokens",
    "loss / plain",
    "loss / bound",
    "clipped",
    "condition",
    "λ·mean",
    "s",
    "verdict",
)


DROPPED_FIRST = (8, 7, 6, 2, 1)  # columns left out of a narrow table, in this order


def columns_for(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the columns that fit into a terminal; names are never cut.

    Examples
    --------
    >>> row = ["block/dense"] + ["0"] * 8 + ["certified"]
    >>> columns_for([row], 120), columns_for([row], 60)
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 3, 4, 5, 9])
    """
    widest = [max(map(len, column)) + 2 for column in zip(HEADS, *rows, strict=True)]
    kept = list(range(len(HEADS)))
    for column in DROPPED_FIRST:
        if sum(widest[k] for k in kept) > width:
            kept.remove(column)
    return kept


def show(console: Any, report: Report) -> None:
    """Print a table of all layers, the failures, and a closing line."""
    from rich.markup import escape
    from rich.table import Table

    columns = columns_for([cells(record) for record in report.layers], console.width)
    table = Table(box=None, pad_edge=False)
    for k in columns:
        text = k in (0, len(HEADS) - 1)
        table.add_column(
            HEADS[k], justify="left" if text else "right", no_wrap=k > 0, overflow="fold"
        )
    for record in report.layers:
        values = [escape(text) for text in cells(record)]
        values[-1] = f"[{STYLES[record.verdict]}]{record.verdict}[/]"
        table.add_row(*(values[k] for k in columns))
    console.print(table)
    for record in report.layers:
        for failure in record.figures.failures[:2]:
            console.print(f"{record.name}: {failure}", style="red", markup=False)
    for why, names in skipped(report):
        console.print(skipped_line(names, why), style="dim", markup=False)
    console.print(closing(report), style="green" if report.passed else "bold red", markup=False)


def skipped(report: Report) -> list[tuple[str, list[str]]]:
    """Return the layers that stay unchanged, by reason.

    Examples
    --------
    >>> skipped(Report((), skipped=(("a", "not selected"), ("b", "int8"), ("c", "not selected"))))
    [('not selected', ['a', 'c']), ('int8', ['b'])]
    """
    found: dict[str, list[str]] = {}
    for name, why in report.skipped:
        found.setdefault(why, []).append(name)
    return list(found.items())


def skipped_line(names: Sequence[str], why: str) -> str:
    """Return a line that says which layers stay unchanged.

    Examples
    --------
    >>> skipped_line(["head"], "not selected")
    'head stays unchanged: not selected'
    >>> skipped_line(["up", "down", "query", "head"], "not selected")
    '4 layers stay unchanged: not selected (up, down, … head)'
    """
    if len(names) == 1:
        return f"{names[0]} stays unchanged: {why}"
    shown = [*names[:2], f"… {names[-1]}"] if len(names) > 3 else names
    return f"{len(names)} layers stay unchanged: {why} ({', '.join(shown)})"


def closing(report: Report) -> str:
    """Return the last line: numbers of layers, losses, time.

    Examples
    --------
    >>> closing(Report(()))
    'no layer was quantized'
    """
    if not report.layers:
        return "no layer was quantized"
    count, total = len(report.layers), report.total
    good = sum(layer.verdict == "certified" for layer in report.layers)
    weak = sum(layer.verdict == "weak" for layer in report.layers)
    plain = sum(layer.verdict == "plain rounding" for layer in report.layers)
    text = f"{good} of {count} layers certified"
    if weak:
        share = max(layer.figures.undecided for layer in report.layers)
        text += f"; {weak} are weak: up to {share:.1%} of their codes are undecided"
    if plain:
        text += f"; {plain} are plain rounding: no error was fed back"
    if total.plain_loss > 0 and report.settings.get("mode") == "gptq":
        text += f"; loss {total.loss / total.plain_loss:.3f} of plain rounding's"
    if total.bound > 0:
        text += f", {total.loss / total.bound:.3f} of the bound"
    seconds = report.seconds.get("total")
    return text + (f"; {seconds:.1f} s" if seconds is not None else "")
