"""JUnit XML for CI systems: a test suite per target, a test case per requirement."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from quantcheck.report.document import MEANINGS, failed_of
from quantcheck.report.looks import FAILED, LOOKS

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(document: Mapping[str, Any]) -> str:
    """Return the document as JUnit XML.

    A run that broke, was stopped or gave no verdict has an additional test case `run` with the
    error.
    """
    root = ET.Element("testsuites", name="quantcheck")
    for made in document["reports"]:
        root.append(_suite(made))
    for spec in document["not_run"]:
        started = document["run"]["started"]
        suite = ET.SubElement(root, "testsuite", name=_clean(spec), timestamp=started, time="0")
        _case(suite, spec, "run", "skipped", "stopped before this target was asked", "")
        _count(suite)
    _count(root)
    root.set("time", f"{document['run']['seconds']:.3f}")
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _suite(made: Mapping[str, Any]) -> ET.Element:
    target = made["target"]
    suite = ET.Element("testsuite", name=_clean(target["spec"]))
    suite.set("timestamp", made["started"])
    suite.set("time", f"{made['seconds']:.3f}")
    properties = ET.SubElement(suite, "properties")
    facts = {"name": target["name"], "version": target["version"], "backend": target["backend"]}
    for name, value in {**facts, **target["versions"], "exit code": made["exit_code"]}.items():
        ET.SubElement(properties, "property", name=_clean(name), value=_clean(str(value)))
    if made["aborted"] is not None or made["exit_code"] in (4, 130):
        error = made["aborted"] or {"kind": "", "message": "", "stderr": ""}
        message = f"{error['kind']}: {error['message']}" if error["kind"] else _meaning(made)
        _case(suite, target["spec"], "run", "error", message, error["stderr"])
    for row in made["requirements"]:
        _requirement(suite, target["spec"], row)
    if target["stderr"]:
        ET.SubElement(suite, "system-err").text = _clean(target["stderr"])
    _count(suite)
    return suite


def _meaning(made: Mapping[str, Any]) -> str:
    return f"{MEANINGS[made['exit_code']]}: {made['asked']} of {made['selected']} cases"


def _requirement(suite: ET.Element, spec: str, row: Mapping[str, Any]) -> None:
    requirement, verdict, worst = row["requirement"], row["verdict"], row["worst"] or {}
    lines = [f"{key}: {worst[key]}" for key in ("reason", "link", "message") if worst.get(key)]
    if verdict in FAILED:
        failed, total = failed_of(row)
        lines.insert(0, f"{failed} of {total} cases; the worst is {worst['case']}")
        lines += [f"{key}: {worst[key]}" for key in ("index", "expected", "got") if worst[key]]
        lines += [requirement["paragraph"], _source(requirement), *row.get("reproduction", [])]
    message = worst.get("reason") or worst.get("message") or ""
    text = f"{verdict}: {message}" if message else verdict
    _case(suite, spec, requirement["id"], LOOKS[verdict].junit, text, "\n".join(lines))


def _source(requirement: Mapping[str, Any]) -> str:
    """Say why a requirement is asked."""
    basis = f", {requirement['basis']}" if requirement["basis"] else ""
    return f"source: {requirement['source']}{basis}"


def _case(
    suite: ET.Element, spec: str, name: str, element: str | None, message: str, text: str
) -> None:
    case = ET.SubElement(suite, "testcase", classname=_clean(spec), name=_clean(name), time="0")
    if element is not None:
        child = ET.SubElement(case, element, message=_clean(message))
        if element != "skipped":
            child.set("type", message.partition(":")[0])
        child.text = _clean(text) or None


def _count(element: ET.Element) -> None:
    """Set the counts of tests, failures, errors and skipped tests of an element."""
    element.set("tests", str(len(list(element.iter("testcase")))))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(len(list(element.iter(tag)))))


def _clean(text: str) -> str:
    """Remove characters that XML does not allow, such as the escapes that colour a terminal."""
    return NOT_XML.sub("", text)
