"""The page as a file: it needs no network, and nothing that a target says becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantcheck.report.document import empty
from quantcheck.report.page import PAGE_FOLDER, as_html

from ..pages import HOSTILE, Elements, hostile  # noqa: TID252 -- pytest imports tests by their files

Document = dict[str, Any]
Contrast = Callable[[str, str], float]


@pytest.fixture(scope="module")
def page(several: Path) -> str:
    return (several / "report.html").read_text("utf-8")


def test_it_loads_nothing(page: str) -> None:
    elements = Elements(page)
    for tag, attributes in elements.found:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base", "audio", "video"}
        assert "src" not in attributes
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert not re.match("(?i)https?:|//", attributes.get("href") or "")
    code = "".join(elements.texts["style"] + elements.texts["script"][1:])
    assert not re.search(
        r"url\(|@import|fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", code
    )
    assert re.findall(r"https?://[^\s\"')]+", code) == ["http://www.w3.org/2000/svg"]


def test_its_policy_allows_its_own_style_and_script_alone(page: str) -> None:
    elements = Elements(page)
    (policy,) = (
        str(meta["content"])
        for meta in elements.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    (style,), (_, script) = elements.texts["style"], elements.texts["script"]
    for kind, text in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_its_data_are_those_of_the_report(page: str, document: Document) -> None:
    data = json.loads(Elements(page).texts["script"][0])
    assert data["targets"] == [made["target"]["spec"] for made in document["reports"]]
    for number, made in enumerate(document["reports"]):
        for row in made["requirements"]:
            if row["verdict"] == "not covered" and row["requirement"]["id"] not in data["cells"]:
                continue
            cell = data["cells"][row["requirement"]["id"]][str(number)]
            assert (cell["verdict"], cell["worst"]) == (row["verdict"], row["worst"])
    failing = [row for row in document["reports"][1]["requirements"] if row["verdict"] == "fail"]
    assert any("loss" in row["worst"]["evidence"] for row in failing)
    paragraph = failing[0]["requirement"]["paragraph"]
    assert data["requirements"][failing[0]["requirement"]["id"]]["paragraph"] == paragraph


def test_properties_show_what_they_say_and_what_breaks_them(document: Document) -> None:
    row = next(r for r in document["reports"][1]["requirements"] if r["verdict"] == "fail")
    (case,) = (c for c in document["reports"][1]["cases"] if c["case"] == row["worst"]["case"])
    case |= {"title": "codes follow a law", "examples": 15, "vectors": ["{}"]}
    cell = json.loads(Elements(as_html(document)).texts["script"][0])["cells"]
    shown = cell[row["requirement"]["id"]]["1"]
    assert (shown["title"], shown["examples"], shown["vectors"]) == (
        "codes follow a law",
        15,
        ["{}"],
    )
    case["vectors"] = ["x" * 1_000_000]
    assert "x" * 1000 not in as_html(document)


def test_its_foot_tells_versions_and_hashes(page: str, document: Document) -> None:
    run = document["run"]
    foot = page[page.index("<footer>") :]
    for text in (run["versions"]["numpy"], run["corpus"]["sha256"], run["specification"]["sha256"]):
        assert text in foot


def test_what_a_target_says_is_text(document: Document) -> None:
    elements = Elements(as_html(hostile(document)))
    assert len(elements.all("script")) == 2
    assert not elements.all("img")
    data = json.loads(elements.texts["script"][0])
    assert data["targets"][0] == f"process:{HOSTILE}"


def test_a_run_without_verdicts_has_a_page_too(document: Document) -> None:
    told = {"kind": "UsageError", "message": "expected this, got that", "stderr": ""}
    document["reports"] = [{**empty("reference", 2, told), "started": "", "seconds": 0.0}]
    document["reports"][0]["examples"] = None
    text = as_html(document)
    assert "expected this, got that" in text
    assert "No requirement was judged" in text


def test_every_text_can_be_read_in_both_schemes(contrast: Contrast) -> None:
    style = (PAGE_FOLDER / "page.css").read_text("utf-8")
    blocks = re.findall(r":root[^{]*\{([^}]*--page[^}]*)\}", style)
    assert len(blocks) == 3
    light, dark, chosen = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks)
    assert dark == chosen
    assert set(light) == set(dark)
    for colours in (light, dark):
        for name in ("pass", "fail", "known", "error", "open"):
            assert contrast(colours[name], colours[f"{name}-back"]) >= 4.5, name
            assert contrast(colours[name], colours["page"]) >= 4.5, name
        for name in ("text", "muted", "link"):
            for back in ("page", "panel"):
                assert contrast(colours[name], colours[back]) >= 4.5, (name, back)
        for name in ("focus", "axis"):
            assert contrast(colours[name], colours["page"]) >= 3, name
