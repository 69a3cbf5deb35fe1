"""The page: one file that needs no network, with every case that deviates.

The template makes the matrix, so that it can be read without scripts. The script filters the matrix
and opens cases. The page's content security policy allows only this script and this style, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from quantcheck.report.document import MEANINGS, by_id, counts, differing_of, failed_of
from quantcheck.report.looks import BLAME, FAILED, LOOKS, VERDICTS, css_class

PAGE_FOLDER = Path(__file__).resolve().parent
MAX_CASES = 60
MAX_CHARACTERS = 4000
MAX_VECTOR = 30_000
SYMBOLS = {verdict: look.symbol for verdict, look in LOOKS.items()}
CLASSES = {verdict: css_class(verdict) for verdict in LOOKS}
_HEADING = re.compile(r"^## (\d+ .+?) \(([A-Z]+)\)$", re.MULTILINE)


def as_html(document: Mapping[str, Any]) -> str:
    """Return the document as a page."""
    return environment().get_template("page.html.jinja").render(context(document))


def environment(*folders: Path) -> jinja2.Environment:
    """Return what renders the templates of these folders and of this one, escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, PAGE_FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = _breakable
    made.globals |= {
        "symbols": SYMBOLS,
        "classes": CLASSES,
        "words": {verdict: look.word for verdict, look in LOOKS.items()},
        "meanings": MEANINGS,
    }
    return made


def looks(style: str, script: str = "") -> dict[str, Any]:
    """Return style, script and the policy that allows these alone, for a template."""
    return {
        "policy": security_policy(style, script),
        "style": Markup(style),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - likewise
    }


def context(document: Mapping[str, Any], style: str = "") -> dict[str, Any]:
    """Return what the template of the page shows; `style` is added to that of the page."""
    reports = document["reports"]
    table = by_id(reports)
    found = {cell["verdict"] for row in table.values() for cell in row.values()}
    return {
        **looks(part("page.css") + style, script("page.js")),
        "data": Markup(_for_script(_data(table, reports))),  # noqa: S704 - escaped by _for_script
        "document": document,
        "verdicts": [verdict for verdict in VERDICTS if verdict in found],
        "sections": sections(table),
        "differs": int(any(made["differences"] for made in reports)),
        "rows": _rows(table, len(reports)),
        "totals": [counts(made["requirements"]) for made in reports],
    }


def script(name: str) -> str:
    """Return a script of this folder after what all pages share."""
    return part("shared.js") + part(name)


def part(name: str) -> str:
    """Return the style or the script of the page."""
    return (PAGE_FOLDER / name).read_text(encoding="utf-8")


def security_policy(style: str, script: str = "") -> str:
    """Return a policy that allows this style and this script, and no network, plugins or forms."""
    digests = [hashlib.sha256(text.encode()).digest() for text in (style, script)]
    styled, scripted = [base64.b64encode(digest).decode() for digest in digests]
    allowed = f"'sha256-{scripted}'" if script else "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{styled}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def _for_script(data: Any) -> str:
    r"""Return JSON in which no text can close the script element.

    Examples
    --------
    >>> print(_for_script({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _breakable(text: str) -> str:
    """Allow line breaks in a long name after its separators."""
    return re.sub(r"(?<=[:/._=,-])(?=\w)", "\u200b", text)


def sections(table: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections of the matrix with their headings in SPEC.md."""
    from quantcheck.spec.places import spec_path

    try:
        text = spec_path().read_text(encoding="utf-8")
    except OSError:
        text = ""
    headings = {match[2]: match[1] for match in _HEADING.finditer(text)}
    found = dict.fromkeys(id_.partition("-")[0] for id_ in table)
    return {name: headings.get(name, name) for name in found}


def _rows(table: Mapping[str, Mapping[int, Mapping[str, Any]]], targets: int) -> list[Any]:
    """Return the row of each requirement for the template."""
    made = []
    for id_, row in table.items():
        requirement = next(iter(row.values()))["requirement"]
        cells = []
        for number in range(targets):
            cell = row.get(number)
            verdict = cell["verdict"] if cell else "not covered"
            failed, total = failed_of(cell) if cell else (0, 0)
            cells.append({"verdict": verdict, "failed": failed, "total": total})
        different = {number: differing_of(cell) for number, cell in row.items()}
        made.append(
            {
                "section": id_.partition("-")[0],
                "requirement": requirement,
                "cells": cells,
                "differences": {n: text for n, text in different.items() if text},
            }
        )
    return made


# Data that the script shows


def _data(
    table: Mapping[str, Mapping[int, Mapping[str, Any]]], reports: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    found = [_cases(made) for made in reports]
    return {
        "targets": [made["target"]["spec"] for made in reports],
        "symbols": SYMBOLS,
        "classes": CLASSES,
        "failed": FAILED,
        "requirements": {
            id_: next(iter(row.values()))["requirement"] for id_, row in table.items()
        },
        "cells": {
            id_: {
                number: _cell(cell, reports[number], found[number]) for number, cell in row.items()
            }
            for id_, row in table.items()
        },
    }


def _cases(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report's cases by id, and those that do not pass by requirement."""
    by_requirement: dict[str, list[Any]] = {}
    for case in made["cases"]:
        for judgement in case["judgements"]:
            if judgement["verdict"] != "pass":
                entry = [case["case"], judgement["verdict"], judgement["message"]]
                by_requirement.setdefault(judgement["requirement"], []).append(entry)
    for entry in by_requirement.values():
        entry.sort(key=lambda each: BLAME.index(each[1]))
    return {"by id": {case["case"]: case for case in made["cases"]}, "deviating": by_requirement}


def _vectors(case: Mapping[str, Any]) -> list[str]:
    """Return the smallest failing sample of a property, unless it is too long for a page."""
    texts = list(case.get("vectors", ()))
    return texts if sum(map(len, texts)) <= MAX_VECTOR else []


def _cell(
    row: Mapping[str, Any], made: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    worst = row["worst"]
    cell = {"verdict": row["verdict"], "counts": row["counts"], "worst": worst}
    if worst is None:
        return cell
    case = found["by id"].get(worst["case"], {})
    section = case.get("section", row["requirement"]["id"].partition("-")[0].lower())
    deviating = found["deviating"].get(row["requirement"]["id"], [])
    return {
        **cell,
        "command": f"quantcheck {shlex.quote(made['target']['spec'])} --section {section}",
        "operation": case.get("operation", ""),
        "title": case.get("title", ""),
        "examples": case.get("examples", 1),
        "vectors": _vectors(case),
        "reproduction": row.get("reproduction", []),
        "left": (case.get("trace", "") + case.get("stderr", ""))[-MAX_CHARACTERS:],
        "deviating": deviating[:MAX_CASES],
        "more": max(len(deviating) - MAX_CASES, 0),
    }
