"""Renders the pages of a site: texts by path, the same for the same reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from quantcheck.judge.verdict import Verdict
from quantcheck.report.page import context, environment, looks, part, sections
from quantcheck.site import text
from quantcheck.site.collect import Collection, Entry, release_key
from quantcheck.site.facts import (
    Release,
    Trouble,
    broken,
    occurring,
    releases,
    requirements,
    troubles,
)

FOLDER = Path(__file__).resolve().parent


def render(collection: Collection, findings: str | None = None) -> dict[str, str]:
    """Return every page of the site by its path.

    Parameters
    ----------
    collection : Collection
    findings : str, optional
        A document in Markdown that gets a page of its own.
    """
    return Site(collection, findings).pages()


class Site:
    """The pages of a collection, and what they share.

    Parameters
    ----------
    collection : Collection
    findings : str, optional
    """

    def __init__(self, collection: Collection, findings: str | None) -> None:
        self.collection, self.findings = collection, findings
        self.entries = collection.entries
        self.paths = [f"targets/{name}.html" for name in collection.names()]
        self.requirements = requirements(self.entries)
        self.style = (FOLDER / "site.css").read_text(encoding="utf-8")
        self.templates = environment(FOLDER)
        self.templates.filters |= {
            "inline": text.inline,
            "releases": _in_order,
            "by_line": self._by_line,
        }
        self.templates.globals |= {
            **looks(
                part("page.css") + self.style,
                part("shared.js") + (FOLDER / "site.js").read_text(encoding="utf-8"),
            ),
            "lines": collection.lines,
            "entries": self.entries,
            "paths": self.paths,
            "findings": findings is not None and (text.heading(findings) or "Findings"),
        }

    def pages(self) -> dict[str, str]:
        """Return all pages."""
        made = {"index.html": self._index(), "releases.html": self._releases()}
        found_in = [broken(entry) for entry in self.entries]
        for place, each in enumerate(self.requirements):
            made[address(each.id)] = self._requirement(place, troubles(each, found_in))
        for number, entry in enumerate(self.entries):
            made[self.paths[number]] = self._target(number, entry)
        if self.findings is not None:
            pages = {each.id: address(each.id) for each in self.requirements}
            body = text.page(self.findings, pages)
            made["findings.html"] = self._render("findings", body=body)
        return made

    def _by_line(self, numbers: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Return numbers of entries by library and backend, with its title."""
        lines = [line.title for line in self.collection.lines for _ in line.entries]
        return [(title, list(each)) for title, each in groupby(numbers, lambda n: lines[n])]

    def _render(self, name: str, root: str = "", **values: Any) -> str:
        template: jinja2.Template = self.templates.get_template(f"{name}.html.jinja")
        return template.render(here=name, root=root, **values)

    def _index(self) -> str:
        return self._render(
            "index",
            requirements=self.requirements,
            sections=sections({each.id: None for each in self.requirements}),
            verdicts=occurring(self.requirements, len(self.entries)),
            replaced=self.collection.replaced,
        )

    def _releases(self) -> str:
        made: list[tuple[str, Sequence[Release]]] = []
        first = 0
        for line in self.collection.lines:
            made.append((line.title, releases(line, first)))
            first += len(line.entries)
        return self._render("releases", trends=made)

    def _requirement(self, place: int, told: Sequence[Trouble]) -> str:
        each = self.requirements[place]
        covered = [each.cell(n)["verdict"] != Verdict.NOT_COVERED for n in range(len(self.entries))]
        judged = {e.name for e, said in zip(self.entries, covered, strict=True) if said}
        return self._render(
            "requirement",
            root="../",
            each=each,
            troubles=told,
            judged=judged,
            silent=[entry.title for entry in self.entries if entry.name not in judged],
            before=self.requirements[place - 1] if place else None,
            after=next(iter(self.requirements[place + 1 :]), None),
        )

    def _target(self, number: int, entry: Entry) -> str:
        """Return the page of one report, as `--html` makes it, with links to the others."""
        document: Mapping[str, Any] = {
            "reports": [entry.made],
            "run": entry.run,
            "not_run": [],
        }
        line = next(line for line in self.collection.lines if entry in line.entries)
        place = line.entries.index(entry)
        return self._render(
            "target",
            root="../",
            entry=entry,
            before=number - 1 if place else None,
            after=number + 1 if place + 1 < len(line.entries) else None,
            **context(document, self.style),
        )


def _in_order(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=release_key)


def address(id_: str) -> str:
    """Return the path of a requirement's page.

    Examples
    --------
    >>> address("GPTQ-060")
    'requirements/GPTQ-060.html'
    """
    return f"requirements/{id_}.html"
