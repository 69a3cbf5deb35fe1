"""What tests of pages share: the elements of a page, and reports with markup in every word."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

Document = dict[str, Any]


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside = tag
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, _: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[self.inside][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


HOSTILE = "<script>window.broken=1</script><img src=x onerror=window.broken=1>\"'&</script>"


def hostile(document: Document) -> Document:
    """Put markup wherever a target has a say."""
    for made in document["reports"]:
        made["target"] |= {"spec": f"process:{HOSTILE}", "name": HOSTILE, "version": HOSTILE}
        made["target"] |= {"versions": {HOSTILE: HOSTILE}, "stderr": HOSTILE}
        made["aborted"] = {"kind": HOSTILE, "message": HOSTILE, "stderr": HOSTILE}
        for row in made["requirements"]:
            row["reproduction"] = [HOSTILE]
            if row["worst"]:
                names = ("message", "expected", "got", "reason")
                row["worst"] |= dict.fromkeys(names, HOSTILE)
                row["worst"]["link"] = "javascript:window.broken=1"
        for case in made["cases"]:
            case["trace"] = case["stderr"] = HOSTILE
    document["not_run"] = [HOSTILE]
    return document
