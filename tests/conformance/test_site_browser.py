"""The site in a real browser: phone, keyboard, filters, both schemes, and what is read aloud."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantcheck.site import folder
from quantcheck.site.collect import Entry, collect
from quantcheck.site.pages import render

from ..browser import (  # noqa: TID252 -- pytest imports tests by their files
    NEEDED,
    Spoken,
    browser,
    complaints,
    named,
    read_aloud,
    scheme,
    screen,
)

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ID = "GPTQ-060"
FINDINGS = f"# What we found\n\n{ID}\n\n| a | b |\n|---|---|\n| {'word ' * 40} | {'x' * 90} |\n"
PAGES = (
    "index.html",
    "releases.html",
    "findings.html",
    f"requirements/{ID}.html",
    "targets/keras-3.10.0-numpy.html",
)
RELEASES = ("3.8.0", "3.9.0", "3.9.1", "3.9.2", "3.10.0", "3.11.0.dev2026112800")

pytestmark = NEEDED


class Site:
    """A site in the browser."""

    def __init__(self, chrome: Chrome, place: Path) -> None:
        self.chrome, self.place = chrome, place

    def open(self, page: str) -> None:
        self.chrome.get("about:blank")
        self.chrome.get_log("browser")
        self.chrome.get_log("performance")
        self.chrome.get((self.place / page).as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def keys(self, *names: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        for name in names:
            ActionChains(self.chrome).send_keys(getattr(Keys, name, name)).perform()

    def wait(self, script: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.chrome, 30).until(lambda _: self.run(f"return Boolean({script})"))

    @property
    def focus(self) -> str:
        return str(self.run("return document.activeElement.getAttribute('aria-label') || ''"))

    def filter(self, script: str, said: str) -> None:
        """Change a filter, and wait for what the live region says."""
        self.run(script)
        self.run("document.getElementById('filters').dispatchEvent(new Event('input'))")
        self.wait(f"document.getElementById('result').textContent === {json.dumps(said)}")

    @property
    def shown(self) -> list[str]:
        rows = "[...document.querySelectorAll('#matrix tbody tr[id]')].filter(r => r.offsetParent)"
        return list(self.run(f"return {rows}.map(r => r.id)"))


@pytest.fixture(scope="module")
def place(several: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of six releases on NumPy and one on PyTorch."""
    document = json.loads((several / "report.json").read_text("utf-8"))
    entries = []
    for number, (version, backend) in enumerate(
        [*((version, "numpy") for version in RELEASES), ("3.10.0", "torch")]
    ):
        made = copy.deepcopy(document["reports"][number == 2])
        told = {"spec": f"keras:{backend}", "name": "keras", "version": version, "backend": backend}
        made["target"] |= told
        entries.append(Entry("report.json", document["run"], made))
    made_at = tmp_path_factory.mktemp("site") / "site"
    folder.write(str(made_at), render(collect(entries), FINDINGS))
    return made_at


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture
def site(chrome: Chrome, place: Path) -> Iterator[Site]:
    made = Site(chrome, place)
    screen(chrome, 1280, 900)
    scheme(chrome, "light")
    made.open("index.html")
    yield made
    assert not complaints(chrome)


@pytest.mark.parametrize("page", PAGES)
def test_on_a_phone_no_page_is_wider_than_the_screen(site: Site, page: str) -> None:
    screen(site.chrome, 360, 740, mobile=True)
    site.open(page)
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    assert site.run(widths) == [360, 360]
    small = (
        "return [...document.querySelectorAll('nav a, #matrix td > *, .verdicts td > a')]"
        ".filter(a => a.offsetParent && a.getBoundingClientRect().height < 36).length"
    )
    assert site.run(small) == 0, "too small for a finger"


def test_on_a_phone_the_matrix_scrolls_below_its_headers(site: Site) -> None:
    screen(site.chrome, 360, 740, mobile=True)
    site.open("index.html")
    assert not site.run("return document.getElementById('filter').open"), "the matrix comes first"
    site.run("const s = document.querySelector('.tall'); s.scrollTop = 600; s.scrollLeft = 200")
    inside = """
      const box = document.querySelector('.tall').getBoundingClientRect();
      const rect = (s) => document.querySelector(s).getBoundingClientRect();
      const head = rect('#matrix thead'), corner = rect('#matrix thead th');
      const row = rect('#matrix tbody tr[id] th');
      return [head.top - box.top, corner.left - box.left, row.left - box.left].map(Math.round)
    """
    assert site.run(inside) == [1, 1, 1], "inside its border"
    first = """
      const left = (s) => document.querySelector(s).getBoundingClientRect().left;
      return [left('#matrix .target') - left('#matrix tbody tr[id] td'), left('#matrix .target')]
    """
    apart, left = site.run(first)
    assert apart == 0, "a release is above its cells"
    assert left < 0


def test_cells_open_the_case_of_their_target(site: Site) -> None:
    label = f"{ID}, keras 3.9.1 on numpy: fail, 53 of 68 cases"
    site.run(f"document.querySelector('[aria-label=\"{label}\"]').click()")
    site.wait("document.getElementById('case') && document.getElementById('case').open")
    assert site.run("return document.getElementById('case-title').textContent") == (
        f"{ID} on keras:numpy"
    )
    assert site.run("return document.querySelector('h1').textContent") == "keras 3.9.1 on numpy"
    neighbours = "return [...document.querySelectorAll('nav.near a')].map(a => a.textContent)"
    assert site.run(neighbours) == ["‹ 3.9.0", "3.9.2 ›"]
    site.keys("ESCAPE")
    site.wait("!document.getElementById('case').open")
    site.run(f"document.querySelector('#{ID} th a').click()")
    site.wait(f"document.querySelector('h1').textContent === '{ID}'")


def test_filters(site: Site) -> None:
    everything = site.shown
    total = len(everything)
    site.filter(
        "document.getElementById('words').value = 'cholesky'",
        f"1 of {total} requirements, 7 of 7 targets",
    )
    assert site.shown == [ID]
    site.filter(
        "document.getElementById('words').value = 'no such'",
        f"0 of {total} requirements, 7 of 7 targets",
    )
    assert site.run("return document.getElementById('none').offsetParent !== null")
    site.run("document.querySelector('button[type=reset]').click()")
    site.wait(f"document.getElementById('result').textContent.startsWith('{total} of {total}')")
    assert site.shown == everything
    gptq = [id_ for id_ in everything if id_.startswith("GPTQ")]
    site.filter(
        "document.getElementById('section').value = 'GPTQ'",
        f"{len(gptq)} of {total} requirements, 7 of 7 targets",
    )
    assert site.shown == gptq
    boxes = "for (const b of document.querySelectorAll('input[name=verdict]'))"
    site.filter(
        f"{boxes} b.checked = b.value === 'fail'", f"1 of {total} requirements, 7 of 7 targets"
    )
    assert site.shown == [ID]


def test_columns_can_be_hidden_and_headings_follow(site: Site) -> None:
    total = len(site.shown)
    heads = """
      return [...document.querySelectorAll('#matrix thead tr:first-child th')]
        .filter(h => h.offsetParent).map(h => [h.textContent.replace(/\\u200b/g, ''), h.colSpan])
    """
    numpy, torch = ["keras on numpy", 6], ["keras on torch", 1]
    assert site.run(heads) == [["Requirement", 1], numpy, torch]
    site.filter(
        "document.getElementById('newest').checked = true",
        f"{total} of {total} requirements, 2 of 7 targets",
    )
    assert site.run(heads) == [["Requirement", 1], ["keras on numpy", 1], torch]
    shown = """
      return [...document.querySelectorAll('#matrix .target')].filter(h => h.offsetParent)
        .map(h => h.textContent.replace(/\\u200b/g, ''))
    """
    assert site.run(shown) == [RELEASES[-1], "3.10.0"]
    site.filter(
        "document.querySelector('input[name=line]').checked = false",
        f"{total} of {total} requirements, 1 of 7 targets",
    )
    assert site.run(heads) == [["Requirement", 1], torch]
    site.run("document.querySelector('button[type=reset]').click()")
    site.wait("document.getElementById('result').textContent.endsWith('7 of 7 targets')")
    assert site.run(heads) == [["Requirement", 1], numpy, torch]
    site.filter(
        "document.getElementById('unlike').checked = true",
        f"3 of {total} requirements, 7 of 7 targets",
    )
    assert site.shown == ["GPTQ-040", ID, "GPTQ-100"], "the mutant fails one and hides two"


def test_the_keyboard(site: Site) -> None:
    stops = "return document.querySelectorAll('#matrix td a[tabindex=\"0\"]').length"
    assert site.run(stops) == 1
    first, second = site.shown[:2]
    site.run("document.querySelector('#matrix td a[tabindex=\"0\"]').focus()")
    assert site.focus == f"{first}, keras 3.8.0 on numpy: pass"
    site.keys("ARROW_RIGHT", "ARROW_DOWN")
    assert site.focus == f"{second}, keras 3.9.0 on numpy: pass"
    site.keys("END")
    assert site.focus == f"{second}, keras 3.10.0 on torch: pass"
    ring = "return getComputedStyle(document.activeElement).outlineStyle"
    assert site.run(ring) == "solid"
    site.keys("HOME", "ENTER")
    site.wait("document.getElementById('case') && document.getElementById('case').open")
    assert site.run("return location.hash") == f"#{second}/1"


@pytest.mark.parametrize("page", PAGES)
def test_both_schemes(site: Site, page: str) -> None:
    site.open(page)
    back = "return getComputedStyle(document.body).backgroundColor"
    assert site.run(back) == "rgb(255, 255, 255)"
    scheme(site.chrome, "dark")
    dark = site.run(back)
    assert dark != "rgb(255, 255, 255)"
    scheme(site.chrome, "light")
    choose = (
        "const s = document.getElementById('theme'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))"
    )
    site.run(choose, "dark")
    site.open("releases.html")
    assert site.run(back) == dark, "the choice holds on every page"
    site.run(choose, "")


def test_what_is_read_aloud(site: Site) -> None:
    shown = site.shown

    def ids(spoken: Spoken) -> list[str]:
        names = [name.split()[0] for name in named(spoken, "rowheader") if name]
        return [name for name in names if name in shown]

    spoken = read_aloud(site.chrome, lambda spoken: ids(spoken) == shown)
    assert named(spoken, "table")[0].startswith("Requirements and targets")
    heads = ["Requirement", "keras on numpy", "keras on torch", *RELEASES, "3.10.0"]
    assert named(spoken, "columnheader")[: len(heads)] == heads
    assert ids(spoken) == shown
    assert spoken["main"]
    assert "Site" in named(spoken, "navigation")
    assert "Verdicts" in named(spoken, "list")
    assert all(named(spoken, "link") + named(spoken, "button"))


def test_without_scripts_everything_can_be_read(site: Site) -> None:
    site.chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        site.open("index.html")
        wanted = {f"{ID}, keras 3.9.1 on numpy: fail, 53 of 68 cases", "Filters need JavaScript."}

        def missing(spoken: Spoken) -> set[str]:
            return wanted - {name for role in spoken for name in named(spoken, role)}

        spoken = read_aloud(site.chrome, lambda spoken: not missing(spoken))
        assert not missing(spoken)
    finally:
        site.chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
