"""The page in a real browser: keyboard, filters, both schemes, a phone, and what is read aloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantcheck.report.page import as_html

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

HOSTILE = "<script>window.broken=1</script><img src=x onerror=window.broken=1>"

pytestmark = NEEDED


class Page:
    """A page in the browser."""

    def __init__(self, chrome: Chrome, folder: Path) -> None:
        self.chrome, self.folder = chrome, folder

    def open(self, fragment: str = "") -> None:
        self.chrome.get("about:blank")
        self.chrome.get_log("browser")
        self.chrome.get_log("performance")
        self.chrome.get((self.folder / "report.html").as_uri() + fragment)

    def run(self, script: str, *arguments: object) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def ask(self, command: str, **parameters: object) -> Any:
        return self.chrome.execute_cdp_cmd(command, parameters)

    def screen(self, width: int, height: int, *, mobile: bool = False) -> None:
        screen(self.chrome, width, height, mobile=mobile)

    def scheme(self, name: str) -> None:
        scheme(self.chrome, name)

    def keys(self, *names: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        for name in names:
            ActionChains(self.chrome).send_keys(getattr(Keys, name, name)).perform()

    def wait(self, script: str) -> None:
        """Wait until a script gives true: events come when the browser gets to them."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.chrome, 30).until(lambda _: self.run(f"return Boolean({script})"))

    def escape(self) -> None:
        """Close the case by the keyboard, and wait for what the page does on the event `close`.

        The browser gives the focus back before the event comes; the address loses its fragment
        last of all.
        """
        self.keys("ESCAPE")
        self.wait("!document.getElementById('case').open && !location.hash")

    @property
    def focus(self) -> str:
        """The label of the element with the focus."""
        label = "const e = document.activeElement; return e.getAttribute('aria-label') || e.id"
        return str(self.run(label))

    @property
    def shown(self) -> list[str]:
        """Requirements that the filters leave."""
        rows = "[...document.querySelectorAll('tr[data-id]')].filter(r => r.offsetParent)"
        return list(self.run(f"return {rows}.map(r => r.dataset.id)"))

    def filter(self, script: str) -> str:
        """Change a filter; return the text of the live region."""
        self.run(script)
        self.run("document.getElementById('filters').dispatchEvent(new Event('input'))")
        # Typing is waited for before the rows change; after as long again they have.
        pause = "const done = arguments[0]; setTimeout(done, 240)"
        self.chrome.execute_async_script(pause)
        return str(self.run("return document.getElementById('result').textContent"))

    def dialog(self) -> str | None:
        """The text of the open case."""
        got = self.run(
            "const d = document.getElementById('case'); return d.open ? d.innerText : null"
        )
        return None if got is None else str(got)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture
def page(chrome: Chrome, several: Path) -> Iterator[Page]:
    made = Page(chrome, several)
    made.screen(1280, 900)
    made.scheme("light")
    made.open()
    yield made
    assert not complaints(made.chrome)


def test_filters(page: Page) -> None:
    everything = page.shown
    total = len(everything)
    assert {id_.partition("-")[0] for id_ in everything} >= {"ABS", "GPTQ"}
    said = page.filter("document.getElementById('section').value = 'GPTQ'")
    assert page.shown == [id_ for id_ in everything if id_.startswith("GPTQ")]
    assert said == f"{len(page.shown)} of {total} requirements, 2 of 2 targets"
    page.filter("document.getElementById('words').value = 'cholesky'")
    assert page.shown == ["GPTQ-060"]
    page.filter("document.getElementById('words').value = 'no such words'")
    assert page.shown == []
    assert page.run("return document.getElementById('none').offsetParent !== null")
    page.run("document.querySelector('button[type=reset]').click()")
    page.filter("")
    assert page.shown == everything


def test_filters_of_verdicts_and_targets(page: Page, document: dict[str, Any]) -> None:
    failing = [
        row["requirement"]["id"]
        for row in document["reports"][1]["requirements"]
        if row["verdict"] == "fail"
    ]
    boxes = "for (const b of document.querySelectorAll('input[name=verdict]'))"
    page.filter(f"{boxes} b.checked = b.value === 'fail'")
    assert page.shown == failing
    said = page.filter("document.querySelector('input[name=target][value=\"1\"]').checked = false")
    assert page.shown == []
    assert said.endswith("1 of 2 targets")
    page.filter(f"{boxes} b.checked = true")
    heads = "return [...document.querySelectorAll('thead th')].filter(h => h.offsetParent).length"
    assert page.run(heads) == 3


def test_the_keyboard(page: Page) -> None:
    stops = "return document.querySelectorAll('#matrix button[tabindex=\"0\"]').length"
    assert page.run(stops) == 1
    page.run("document.querySelector('.scroll').focus()")
    page.keys("TAB")
    first = page.shown[0]
    assert page.focus.startswith(f"{first}, reference: ")
    page.keys("ARROW_RIGHT", "ARROW_DOWN")
    assert page.focus.startswith(f"{page.shown[1]}, mutant:gptq-plain-rounding: ")
    page.keys("ARROW_UP", "ARROW_UP", "HOME")
    assert page.focus.startswith(f"{first}, reference: ")
    ring = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(ring) == "solid"
    below = page.shown.index("GPTQ-060")
    page.keys(*["ARROW_DOWN"] * below, "END")
    assert page.focus.startswith("GPTQ-060, mutant:gptq-plain-rounding: fail, ")
    where = page.focus
    page.keys("ENTER")
    page.wait("document.getElementById('case').open")
    assert (page.dialog() or "").startswith("GPTQ-060 on mutant:gptq-plain-rounding")
    expanded = "return document.querySelectorAll('[aria-expanded=true]').length"
    assert page.run(expanded) == 1
    page.escape()
    assert page.dialog() is None
    assert page.focus == where
    assert page.run(expanded) == 0


def test_the_focus_stays_in_an_open_case(page: Page) -> None:
    page.open("#GPTQ-060/2")
    inside = "return document.getElementById('case').contains(document.activeElement)"
    seen = set()
    for _ in range(12):
        page.keys("TAB")
        # The browser's own controls are part of the round.
        assert page.run(f"{inside} || document.activeElement === document.body")
        seen.add(page.focus)
    assert {"close", "Close"} & seen


def test_a_case_tells_everything(page: Page, document: dict[str, Any]) -> None:
    row = next(
        row
        for row in document["reports"][1]["requirements"]
        if row["requirement"]["id"] == "GPTQ-060"
    )
    page.open("#GPTQ-060/2")
    text = page.dialog() or ""
    for part in (row["worst"]["case"], row["worst"]["message"], "observed ÷ bound"):
        assert part in text
    assert "Errors MUST be carried along the rows of U" in text
    assert "quantcheck mutant:gptq-plain-rounding --section gptq" in text
    labels = page.run(
        "return [...document.querySelectorAll('#case svg[role=img]')]"
        ".map(s => s.getAttribute('aria-label'))"
    )
    assert [label.split()[0] for label in labels] == ["Residuals", "Margins", "Loss"]
    codes = row["worst"]["evidence"]["codes"]
    outside = sum(codes["outside"])
    assert f"{outside} outside" in labels[0]
    marks = (
        "return document.querySelectorAll('#case figure:first-of-type svg[role=img] .bad').length"
    )
    assert page.run(marks) == outside > 0
    assert (
        page.run("return document.querySelectorAll('#case svg [d*=NaN], #case [y=NaN]').length")
        == 0
    )


def test_wrong_scales_are_drawn(chrome: Chrome, tmp_path: Path, quantcheck: Any) -> None:
    target = ("mutant:gptq-static-groups", "--section", "gptq", "--only", "vectors")
    done = quantcheck(*target, "--json", "report.json", "--html", "report.html")
    assert done.returncode == 1
    (made,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]
    (row,) = (r for r in made["requirements"] if r["requirement"]["id"] == "GPTQ-030")
    page = Page(chrome, tmp_path)
    page.open("#GPTQ-030/1")
    assert "group ranges taken from the original weights" in (page.dialog() or "")
    figures = page.run(
        "return [...document.querySelectorAll('#case figure')].map(f => "
        "[f.querySelector('svg[role=img]').getAttribute('aria-label'), "
        "f.querySelectorAll('svg[role=img] .bad').length])"
    )
    (scales,) = (e for e in row["worst"]["evidence"]["parameters"] if e["output"] == "scale")
    (marks,) = (n for label, n in figures if label.startswith("Scales of"))
    assert marks == sum(scales["wrong"]) > 0


def test_a_case_that_passes_opens_too(page: Page) -> None:
    page.open("#GPTQ-060/1")
    assert "The case nearest to its bound" in (page.dialog() or "")


def test_from_deviation_to_deviation(page: Page, document: dict[str, Any]) -> None:
    failing = [
        row["requirement"]["id"]
        for row in document["reports"][1]["requirements"]
        if row["verdict"] == "fail"
    ]
    page.open(f"#{failing[0]}/2")
    assert page.run("return document.getElementById('previous').disabled")
    for id_ in failing[1:]:
        page.run("document.getElementById('next').click()")
        assert (page.dialog() or "").startswith(f"{id_} on ")
    assert page.run("return document.getElementById('next').disabled")
    page.escape()
    assert page.focus.startswith(f"{failing[-1]}, ")


def test_lines_are_copied(page: Page) -> None:
    page.ask("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    page.open("#GPTQ-060/2")
    page.run("document.querySelector('#case .copy').focus()")
    page.keys("ENTER")
    page.wait("document.getElementById('said').textContent === 'Copied'")
    assert page.run("return document.querySelector('#case .copy').textContent") == "Copied"


def test_both_schemes(page: Page) -> None:
    back = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(back)
    page.scheme("dark")
    dark = page.run(back)
    assert light == "rgb(255, 255, 255)" != dark
    choose = (
        "const s = document.getElementById('theme'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))"
    )
    page.run(choose, "light")
    assert page.run(back) == light
    page.scheme("light")
    page.run(choose, "dark")
    assert page.run(back) == dark
    page.open()
    assert page.run(back) == dark, "the choice is remembered"
    page.run(choose, "")
    assert page.run(back) == light


@pytest.mark.parametrize("fragment", ["", "#GPTQ-060/2"])
def test_on_a_phone(page: Page, fragment: str) -> None:
    page.screen(375, 812, mobile=True)
    page.open(fragment)
    widths = page.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths == [375, 375]
    if fragment:
        body = (
            "const b = document.getElementById('case-body'); return b.scrollWidth <= b.clientWidth"
        )
        assert page.run(body)
    button = "return document.querySelector('#matrix td button').getBoundingClientRect().height"
    assert page.run(button) >= 40


def test_what_is_read_aloud(page: Page) -> None:
    shown = page.shown

    def cells(spoken: Spoken) -> int:
        return len(spoken.get("cell", []) + spoken.get("gridcell", []))

    spoken = read_aloud(page.chrome, lambda spoken: cells(spoken) >= 3 * len(shown))
    assert named(spoken, "table") == [
        "Requirements and targets Arrow keys move between cells, Enter opens one."
    ]
    heads = ["Requirement", "Text", "reference", "mutant:gptq-plain-rounding"]
    assert named(spoken, "columnheader") == heads
    # A choice is said to be one, after its id.
    ids = [name.split()[0] for name in named(spoken, "rowheader") if name]
    assert [name for name in ids if name in shown] == shown
    assert cells(spoken) == 3 * len(shown)
    assert "Search" in named(spoken, "searchbox")[0]
    assert spoken["main"]
    assert spoken["status"]
    assert all(named(spoken, "button"))


def test_an_open_case_is_a_dialog(page: Page) -> None:
    page.open("#GPTQ-060/2")
    spoken = read_aloud(page.chrome, lambda spoken: "dialog" in spoken)
    assert named(spoken, "dialog") == ["GPTQ-060 on mutant:gptq-plain-rounding"]
    properties = {p["name"]: p["value"].get("value") for p in spoken["dialog"][0]["properties"]}
    assert properties["modal"] is True


def test_markup_of_a_target_stays_text(
    chrome: Chrome, document: dict[str, Any], tmp_path: Path
) -> None:
    for made in document["reports"]:
        made["target"] |= {"spec": f"process:{HOSTILE}", "name": HOSTILE}
        for row in made["requirements"]:
            if row["worst"]:
                row["worst"] |= {"message": HOSTILE, "reason": HOSTILE, "got": HOSTILE}
                row["worst"]["link"] = "javascript:window.broken=1"
                row["reproduction"] = [HOSTILE]
        for case in made["cases"]:
            case["stderr"] = HOSTILE
    (tmp_path / "report.html").write_text(as_html(document), encoding="utf-8")
    page = Page(chrome, tmp_path)
    page.screen(1280, 900)
    page.open("#GPTQ-060/2")
    assert (page.dialog() or "").count(HOSTILE) >= 4
    assert page.run("return window.broken") is None
    assert page.run("return document.querySelectorAll('img, a[href^=javascript]').length") == 0
    assert not complaints(page.chrome)


def test_without_scripts_the_matrix_is_there(page: Page) -> None:
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.chrome.get((page.folder / "report.html").as_uri())
        wanted = "GPTQ-060"
        spoken = read_aloud(page.chrome, lambda spoken: wanted in named(spoken, "rowheader"))
        assert wanted in named(spoken, "rowheader")
    finally:
        page.ask("Emulation.setScriptExecutionDisabled", value=False)
    page.open()
