"""A badge: one line of SVG that says how a run went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from quantcheck.judge.verdict import Verdict
from quantcheck.report.document import worst_verdicts
from quantcheck.report.looks import LOOKS

LABEL = "quantref"
# White text on each colour has a contrast of at least 4.5.
GREEN, AMBER, RED, PURPLE, GREY = "#2b7a2b", "#8f6400", "#c0342b", "#8a3ea8", "#5f6368"
WORDS = {Verdict.DIFFERENCE: "not as chosen"}  # no failures: they change no colour
SHOWN = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.UNSTABLE,
    Verdict.PASS,
    Verdict.KNOWN,
    Verdict.DIFFERENCE,
)
_NARROW, _WIDE = "ijl.,:;|!' tfrI()-", "mwMW—"
HEIGHT, PADDING = 20, 6


def as_badge(document: Mapping[str, Any]) -> str:
    """Return the badge: it counts requirements by their worst verdict on any target."""
    text, colour = summary(document)
    parts = f"{LABEL}: {text}"
    left, right = _width(LABEL) + 2 * PADDING, _width(text) + 2 * PADDING
    total = left + right
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{HEIGHT}" role="img" \
aria-label={quoteattr(parts)}>
<title>{escape(parts)}</title>
<clipPath id="round"><rect width="{total}" height="{HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#round)">
<rect width="{left}" height="{HEIGHT}" fill="#444"/>
<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2:g}" y="14" textLength="{left - 2 * PADDING}">{escape(LABEL)}</text>
<text x="{left + right / 2:g}" y="14" textLength="{right - 2 * PADDING}">{escape(text)}</text>
</g>
</svg>
"""


def summary(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a badge and its colour.

    Examples
    --------
    >>> rows = [{"requirement": {"id": f"A-0{n}0"}, "verdict": "pass"} for n in range(3)]
    >>> made = {"exit_code": 0, "requirements": rows}
    >>> summary({"exit_code": 0, "reports": [made]})
    ('3 pass', '#2b7a2b')
    """
    verdicts = list(worst_verdicts(document["reports"]).values())
    count = {name: verdicts.count(name) for name in set(verdicts)}
    parts = [
        f"{count[verdict]} {WORDS.get(verdict, LOOKS[verdict].word)}"
        for verdict in SHOWN
        if verdict in count
    ]
    if document["exit_code"] == 130:
        return ", ".join([*parts, "stopped"]), GREY
    if document["exit_code"] == 3:
        return ", ".join(parts if "error" in count else [*parts, "broken"]), PURPLE
    if document["exit_code"] == 1:
        red = "fail" in count or "unstable" in count
        return ", ".join(parts if red else [*parts, "stale deviations"]), RED
    if document["exit_code"] in (2, 4) or not parts:
        return ", ".join([*parts, "not judged"]), GREY
    return ", ".join(parts), AMBER if "known deviation" in count else GREEN


def _width(text: str) -> int:
    """Estimate the width of text in an 11 px sans serif; `textLength` sets it exactly.

    Examples
    --------
    >>> _width("il") < _width("oo") < _width("mw")
    True
    """
    widths = {**dict.fromkeys(_NARROW, 4.2), **dict.fromkeys(_WIDE, 10.2)}
    return round(sum(widths.get(character, 7.0) for character in text))
