"""Reports for other people's CI: JUnit XML and the badge."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantcheck.report.badge import as_badge, summary
from quantcheck.report.document import empty
from quantcheck.report.junit import as_junit

Document = dict[str, Any]
SVG = "{http://www.w3.org/2000/svg}"
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "timestamp", "time", "tests", "failures", "errors", "skipped"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-err": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-err"},
    "properties": {"property"},
    "testcase": {"failure", "error", "skipped"},
}


def parsed(text: str) -> ET.Element:
    """Read JUnit XML, and check the form that its readers expect."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        if element.tag in ("testsuites", "testsuite"):
            tags = {"tests": "testcase", "failures": "failure", "errors": "error"}
            for name, tag in {**tags, "skipped": "skipped"}.items():
                assert int(element.attrib[name]) == len(list(element.iter(tag)))
    for case in root.iter("testcase"):
        assert len(case) <= 1
    names = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(names)) == len(names)
    return root


def test_a_suite_per_target_and_a_case_per_requirement(several: Path, document: Document) -> None:
    root = parsed((several / "report.junit").read_text("utf-8"))
    assert [suite.get("name") for suite in root] == ["reference", "mutant:gptq-plain-rounding"]
    for suite, made in zip(root, document["reports"], strict=True):
        cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
        assert list(cases) == [row["requirement"]["id"] for row in made["requirements"]]
        for row in made["requirements"]:
            tags = [child.tag for child in cases[row["requirement"]["id"]]]
            wanted = {"pass": [], "fail": ["failure"], "error": ["error"]}
            assert tags == wanted.get(row["verdict"], ["skipped"])
    failure = next(root.iter("failure"))
    assert failure.attrib["message"].startswith("fail: ")
    assert failure.attrib["type"] == "fail"
    assert "MUST" in (failure.text or "")
    skipped = [case.attrib["message"] for case in root.iter("skipped")]
    assert "not covered" in skipped


def test_runs_that_broke_or_were_stopped(document: Document) -> None:
    told = {"kind": "TargetCrashed", "message": "code 5", "stderr": "last \x1b[31mwords\x00"}
    broken = {**empty("process:x", 3, told), "started": "", "seconds": 0.0}
    document["reports"].append(broken)
    document["reports"][0]["exit_code"] = 130
    document["not_run"] = ["keras:jax"]
    root = parsed(as_junit(document))
    stopped, crashed = root.iter("error")
    assert stopped.attrib["message"].startswith("stopped")
    assert crashed.attrib["message"] == "TargetCrashed: code 5"
    assert crashed.text == "last [31mwords"
    assert root[-1].attrib["name"] == "keras:jax"


def test_a_known_deviation_is_skipped_with_its_reason(document: Document) -> None:
    row = next(r for r in document["reports"][1]["requirements"] if r["verdict"] == "fail")
    row["verdict"] = "known deviation"
    row["worst"] |= {"reason": "because <of> & that", "link": "https://example.org/1"}
    root = parsed(as_junit(document))
    (skipped,) = (s for s in root.iter("skipped") if "because" in s.attrib["message"])
    assert skipped.attrib["message"] == "known deviation: because <of> & that"
    assert "https://example.org/1" in (skipped.text or "")


# The badge


def test_the_badge_is_an_accessible_picture(several: Path) -> None:
    svg = ET.fromstring((several / "report.badge").read_text("utf-8"))
    assert svg.tag == f"{SVG}svg"
    assert svg.attrib["role"] == "img"
    title = svg.findtext(f"{SVG}title") or ""
    assert svg.attrib["aria-label"] == title
    assert re.fullmatch(r"quantref: \d+ fail, \d+ pass", title)
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert texts == title.split(": ")
    assert "http" not in ET.tostring(svg, "unicode").replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("verdicts", "exit_code", "words"),
    [
        (["pass"] * 24, 0, "24 pass"),
        (["pass", "known deviation", "unsupported"], 0, "1 pass, 1 known"),
        (["pass", "fail", "fail"], 1, "2 fail, 1 pass"),
        (["pass"], 1, "1 pass, stale deviations"),
        (["error", "pass"], 3, "1 error, 1 pass"),
        ([], 3, "broken"),
        ([], 4, "not judged"),
        (["unsupported"], 4, "not judged"),
        (["pass"], 130, "1 pass, stopped"),
    ],
)
def test_what_the_badge_says(verdicts: list[str], exit_code: int, words: str) -> None:
    rows = [
        {"requirement": {"id": f"A-{n}"}, "verdict": verdict} for n, verdict in enumerate(verdicts)
    ]
    document = {"exit_code": exit_code, "reports": [{"requirements": rows}]}
    assert summary(document)[0] == words
    assert words in as_badge(document)


def test_badges_can_be_read(contrast: Callable[[str, str], float]) -> None:
    from quantcheck.report import badge

    for colour in (badge.GREEN, badge.AMBER, badge.RED, badge.PURPLE, badge.GREY):
        assert contrast(colour, "#ffffff") >= 4.5, colour


def test_the_worst_target_decides(document: Document) -> None:
    alone = copy.deepcopy(document)
    alone["reports"], alone["exit_code"] = alone["reports"][:1], 0
    assert "fail" not in summary(alone)[0]
    assert "fail" in summary(document)[0]
