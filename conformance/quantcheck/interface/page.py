"""The table as a page: one file that needs neither network nor scripts."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from quantcheck.interface import axes
from quantcheck.interface.rules import RULES
from quantcheck.interface.summary import (
    LETTER_OF,
    MARKS,
    REASONS,
    RowSummary,
    Summary,
)
from quantcheck.interface.table import OUTCOMES
from quantcheck.report.page import environment, looks, part

FOLDER = Path(__file__).resolve().parent


def as_html(made: Summary) -> str:
    """Return the table as a page."""
    style = part("page.css") + (FOLDER / "interface.css").read_text(encoding="utf-8")
    return (
        environment(FOLDER)
        .get_template("interface.html.jinja")
        .render(
            **looks(style),
            made=made,
            kinds=OUTCOMES,
            marks=MARKS,
            ruling=[rule.reason for rule in RULES],
            reasons=REASONS,
            letters=LETTER_OF,
            policies=axes.POLICIES,
            uses=axes.USES,
            operations=axes.OPERATIONS,
            summaries={
                "Class or function": made.by["signatures"],
                "Operation": made.by["operations"],
                "Kind of layer": made.by["layers"],
                "Dtype policy": made.by["policies"],
                "Use of the result": made.by["uses"],
            },
            groups=[(name, list(rows)) for name, rows in groupby(made.rows, _signature)],
        )
    )


def _signature(row: RowSummary) -> str:
    return row.row.signature.name
