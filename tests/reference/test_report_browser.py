"""The report of a quantized model in a real browser: both schemes, a phone, links to layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantref import GPTQConfig
from quantref.cli.page import write_page
from quantref.models import Report, Settings, quantize_blocks

from ..browser import (  # noqa: TID252 -- pytest imports tests by their files
    NEEDED,
    browser,
    complaints,
    scheme,
    screen,
)
from .plain_models import attention, batches

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = NEEDED
HOSTILE = "<img src=x onerror=window.broken=1>"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def report() -> Report:
    """Eight layers: one has a name with a tag, one failed, one is not judged."""
    settings = Settings(GPTQConfig(None, None, weight_bits=3, group_size=8))
    records = quantize_blocks(attention(), batches(), settings).records
    records[1] = replace(records[1], name=HOSTILE)
    failed = replace(records[2].figures, failures=(f"codes: {HOSTILE} [CERT-010]",), nearest=2.5)
    records[2] = replace(records[2], figures=failed)
    records[3] = replace(records[3], figures=replace(records[3].figures, certified=False))
    assert records[3].verdict == "not judged"
    about, skipped = {"keras": "3.15.1"}, (("head", "not selected"),)
    return Report(tuple(records), {"mode": "gptq"}, {"total": 1.5}, skipped, about)


@pytest.fixture
def page(chrome: Chrome, report: Report, tmp_path: Path) -> Iterator[Chrome]:
    write_page(report, tmp_path / "report.html")
    screen(chrome, 1280, 900)
    scheme(chrome, "light")
    chrome.get("about:blank")
    complaints(chrome)
    chrome.get((tmp_path / "report.html").as_uri())
    yield chrome
    assert not complaints(chrome)
    assert chrome.execute_script("return window.broken") is None


def texts(page: Chrome, selector: str) -> list[str]:
    found = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )
    return [str(text) for text in found]


def test_the_table_says_what_the_report_does(page: Chrome, report: Report) -> None:
    assert texts(page, "tbody td:first-child") == [layer.name for layer in report.layers]
    assert texts(page, "tbody td:nth-child(2)") == [layer.verdict for layer in report.layers]
    assert texts(page, "tbody td:nth-child(2)").count("certified") == len(report.layers) - 2
    assert texts(page, ".verdict")[0].startswith("6 of 8 layers certified")
    assert page.title.startswith("quantref: 6 of 8")


def test_what_failed_is_open_and_a_link_opens_the_rest(page: Chrome) -> None:
    assert "CERT-010" in texts(page, "details[open] pre")[0]
    assert len(texts(page, "details[open]")) == 2  # and what was not judged
    page.execute_script("document.querySelectorAll('tbody a')[5].click()")
    places = page.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done("
        "[...document.querySelectorAll('details')].map("
        "d => [d.open, d.getBoundingClientRect().top]))))"
    )
    assert [place for place, (is_open, _) in enumerate(places) if is_open] == [2, 3, 5]
    assert 0 <= places[5][1] < 900, "its name is on the screen"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everything_can_be_read(page: Chrome, colours: str) -> None:
    """Contrast of text that is drawn by the page itself: 4.5 to 1 (WCAG 2, AA)."""
    scheme(page, colours)
    seen: list[Any] = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e).color)",
        ".verdict, td, th, h2, summary span, dt, dd, a, .dim",
    )
    assert len(seen) > 100
    behind = rgb(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert (sum(behind) > 600) == (colours == "light")
    assert len(set(seen)) >= 6
    for colour in set(seen):
        assert contrast(rgb(colour), behind) >= 4.5, (colour, colours)


def rgb(colour: str) -> list[int]:
    """Return the components of a computed colour that is not transparent."""
    assert colour.startswith("rgb("), colour
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]


def contrast(one: Any, other: Any) -> float:
    """Return the ratio of contrast of two colours (WCAG 2)."""

    def luminance(rgb: Any) -> float:
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return float(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_phone(page: Chrome) -> None:
    """Tables and figures scroll by themselves; verdicts are seen without it."""
    screen(page, 400, 800, mobile=True)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 400
    right = "return document.querySelector('tbody td:nth-child(2)').getBoundingClientRect().right"
    assert page.execute_script(right) <= 400


def test_figures_are_drawn(page: Chrome, report: Report) -> None:
    sizes = page.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return [...document.querySelectorAll('figure svg')].map(s => s.clientHeight)"
    )
    assert len(sizes) == len(report.layers) + 1
    assert min(sizes) > 100
