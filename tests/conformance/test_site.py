"""`quantcheck site`: its files are complete, true of the reports, and replace nothing of others."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcheck.errors import ReportError, UsageError
from quantcheck.report.document import empty
from quantcheck.report.looks import LOOKS
from quantcheck.site import folder
from quantcheck.site.collect import Entry, collect, read
from quantcheck.site.pages import render

from ..pages import Elements, hostile  # noqa: TID252 -- pytest imports tests by their files

Document = dict[str, Any]
Make = Callable[..., Entry]
ID = "GPTQ-060"


@pytest.fixture
def make(document: Document) -> Make:
    """Make an entry of one of the two reports of a real run, as another release of a library."""

    def entry(number: int, version: str, backend: str = "numpy", day: int = 1) -> Entry:
        made = copy.deepcopy(document["reports"][number])
        told = {"spec": f"keras:{backend}", "name": "keras", "version": version, "backend": backend}
        made["target"] |= told
        made["started"] = f"2026-11-{day:02}T00:00:00+00:00"
        return Entry(f"{version}-{backend}.json", document["run"], made)

    return entry


@pytest.fixture
def entries(make: Make) -> list[Entry]:
    """Three releases on NumPy, of which the second fails a requirement, and one on PyTorch."""
    return [
        make(0, "3.10.0", day=4),
        make(1, "3.9.1", day=3),
        make(0, "3.9.0", day=2),
        make(1, "3.10.0", "torch", day=5),
    ]


def cells(page: str) -> dict[str, list[str]]:
    """Return the labels of the cells of a matrix, by requirement."""
    found: dict[str, list[str]] = {}
    for attributes in Elements(page).all("a"):
        label = attributes.get("aria-label") or ""
        if re.match(r"[A-Z]+-\d+, ", label):
            found.setdefault(label.partition(", ")[0], []).append(label)
    return found


def test_releases_are_in_order_and_libraries_apart(entries: list[Entry]) -> None:
    collection = collect(entries)
    lines = {line.title: [e.version for e in line.entries] for line in collection.lines}
    assert lines == {"keras on numpy": ["3.9.0", "3.9.1", "3.10.0"], "keras on torch": ["3.10.0"]}
    assert collection.names() == [
        "keras-3.9.0-numpy",
        "keras-3.9.1-numpy",
        "keras-3.10.0-numpy",
        "keras-3.10.0-torch",
    ]


def test_targets_of_one_name_and_release_are_told_apart_by_what_was_asked_for(make: Make) -> None:
    one, other = make(0, "1.0"), make(1, "1.0")
    other.made["target"]["spec"] = "process:./other"
    collection = collect([one, other])
    titles = ["keras on numpy, keras:numpy", "keras on numpy, process:./other"]
    assert [line.title for line in collection.lines] == titles
    assert collection.names() == ["keras-1.0-numpy", "keras-1.0-numpy~2"]


def test_the_newer_of_two_reports_is_taken(make: Make, entries: list[Entry]) -> None:
    old = make(1, "3.9.0", day=1)
    collection = collect([*entries, old])
    assert old not in collection.entries
    assert [(a.file, b.started) for a, b in collection.replaced] == [
        ("3.9.0-numpy.json", "2026-11-02T00:00:00+00:00")
    ]
    assert "Left out: keras 3.9.0 on numpy of 2026-11-01" in render(collection)["index.html"]
    with pytest.raises(ReportError, match=r"two of keras 3\.9\.0 on numpy from 2026-11-02T.*json"):
        collect([*entries, make(0, "3.9.0", day=2)])


def test_no_report_is_refused(tmp_path: Path, document: Document) -> None:
    path = tmp_path / "nothing.json"
    path.write_text(json.dumps({**document, "reports": [], "not_run": ["reference"]}), "utf-8")
    with pytest.raises(ReportError, match=r"expected a report of a target, got none in .*nothing"):
        read([path])


def test_the_matrix_says_what_the_reports_say(entries: list[Entry]) -> None:
    collection = collect(entries)
    shown = cells(render(collection)["index.html"])
    reports = [entry.made for entry in collection.entries]
    for number, made in enumerate(reports):
        rows = {row["requirement"]["id"]: row for row in made["requirements"]}
        for id_, labels in shown.items():
            assert labels[number].startswith(f"{id_}, {collection.entries[number].title}: ")
            verdict = labels[number].partition(": ")[2].partition(",")[0]
            assert verdict == rows[id_]["verdict"]
        judged = {id_ for id_, row in rows.items() if row["verdict"] != "not covered"}
        assert judged <= shown.keys()
    assert shown[ID][1].endswith(": fail, 53 of 68 cases")


def test_every_verdict_has_a_sign_and_a_word(entries: list[Entry]) -> None:
    for entry, verdict in zip(entries, ("error", "unstable", "known deviation"), strict=False):
        for row in entry.made["requirements"]:
            row["verdict"] = verdict if row["verdict"] == "fail" else row["verdict"]
    page = render(collect(entries))["index.html"]
    for cell in re.findall(r"<td class=.*?</td>", page, re.DOTALL):
        (told,) = re.findall(r'data-verdict="([^"]+)"', cell)
        look = LOOKS[told]
        assert f'aria-hidden="true">{look.symbol}</span>' in cell
        assert f'<span class="word">{look.word}</span>' in cell


def test_a_requirement_has_its_words_and_its_simplest_failure(entries: list[Entry]) -> None:
    collection = collect(entries)
    page = render(collection)[f"requirements/{ID}.html"]
    row = next(r for r in entries[1].made["requirements"] if r["requirement"]["id"] == ID)
    for told in ("check: certificate, level: core, source: original", "MUST be carried along"):
        assert told in page
    assert "lines 101–104" in page, "the basis of the source"
    failing = [
        judgement
        for case in entries[1].made["cases"]
        for judgement in case["judgements"]
        if judgement["requirement"] == ID and judgement["verdict"] == "fail" and judgement["name"]
    ]
    simplest = min(failing, key=lambda j: (j["size"], j["case"]))
    assert simplest["name"] == row["worst"]["name"]
    assert f"fail: {simplest['name']}" in page
    assert f"<dd><code>{simplest['case']}</code>" in page
    assert len(cells(page)[ID]) == len(entries)
    empty_cell = '<td class="none"><span class="unseen">no report</span></td>'
    assert page.count(empty_cell) == 2, "PyTorch has one of three releases"


def test_a_known_deviation_has_its_cause_and_link(entries: list[Entry]) -> None:
    for number, entry in enumerate(entries):
        for case in entry.made["cases"]:
            for judgement in case["judgements"]:
                if judgement["verdict"] == "fail":
                    link = f"https://example.org/{entry.version}"
                    told = {"verdict": "known deviation", "reason": "no error is fed back"}
                    judgement |= {**told, "link": link if number == 1 else "no address"}
    page = render(collect(entries))[f"requirements/{ID}.html"]
    assert page.count("known deviation: no error is fed back") == 1
    assert '<a href="https://example.org/3.9.1"' in page
    assert "no address" in page
    assert 'href="no address"' not in page


def test_other_words_of_a_requirement_are_said(entries: list[Entry]) -> None:
    row = next(r for r in entries[2].made["requirements"] if r["requirement"]["id"] == ID)
    row["requirement"]["paragraph"] = "Old words."
    page = render(collect(entries))[f"requirements/{ID}.html"]
    assert "Old words." not in page
    assert "Other words of an earlier SPEC.md were judged for: keras 3.9.0 on numpy." in page


def test_trends_say_what_changed_from_release_to_release(entries: list[Entry]) -> None:
    page = render(collect(entries))["releases.html"]
    numpy, torch = page.split('<section class="trend"')[1:]
    parts = numpy.split('<article class="release">')[1:]
    assert [re.search(r"numpy\.html\">([\d.]+)<", part)[1] for part in parts] == [  # type: ignore[index]
        "3.9.0",
        "3.9.1",
        "3.10.0",
    ]
    assert "worse" not in parts[0]
    assert "1 worse" in parts[1]
    assert f'{ID}.html">{ID}</a> pass → fail' in parts[1]
    assert "1 better" in parts[2]
    assert f'{ID}.html">{ID}</a> fail → pass' in parts[2]
    assert "24 pass" in parts[1]
    assert "A report on another release shows here what changed" in torch
    assert "Compared only in part" not in page


def test_what_two_releases_were_not_asked_alike_is_said(entries: list[Entry]) -> None:
    entries[1] = replace(entries[1], made={**entries[1].made, "complete": False})
    page = render(collect(entries))["releases.html"]
    told = "Compared only in part: the newer is not complete: 133 of 133 cases"
    assert page.count(told) == 1


def links(pages: dict[str, str], name: str) -> list[tuple[str, str]]:
    """Return files and fragments to which a page leads within the site."""
    found = []
    for attributes in Elements(pages[name]).all("a"):
        href = attributes.get("href") or ""
        if re.match("https?:", href):
            continue
        path, _, fragment = href.partition("#")
        parts: list[str] = []
        for part in [*name.split("/")[:-1], *path.split("/")] if path else name.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part]
        found.append(("/".join(parts), fragment))
    return found


def test_every_link_leads_somewhere(entries: list[Entry]) -> None:
    text = f"# Found\n\n[below](#more-of-it) {ID} [file](../SPEC.md)\n\n## More of it\n"
    pages = render(collect(entries), text)
    ids = {name: {a.get("id") for _, a in Elements(pages[name]).found} for name in pages}
    for name in pages:
        reached = links(pages, name)
        assert reached
        for path, fragment in reached:
            assert path in pages, (name, path)
            # A fragment opens a case: the requirement, and the number of the target.
            assert not fragment or fragment.removesuffix("/1") in ids[path], (name, path, fragment)
    assert {path for name in pages for path, _ in links(pages, name)} == set(pages)


def test_it_loads_nothing_and_its_tables_have_scopes(entries: list[Entry]) -> None:
    for name, page in render(collect(entries), "# Found\n").items():
        elements = Elements(page)
        for tag, attributes in elements.found:
            assert tag not in {"link", "iframe", "object", "embed", "img", "base"}, name
            assert "src" not in attributes
            assert "style" not in attributes
            assert not [a for a in attributes if a.startswith("on")]
        assert all(head.get("scope") for head in elements.all("th")), name
        assert len(elements.all("h1")) == 1
        assert not re.search(r"url\(|@import|fetch\(", page)
        ids = [a["id"] for _, a in elements.found if a.get("id")]
        assert len(ids) == len(set(ids)), name


def test_what_reports_say_is_text(document: Document) -> None:
    hostile(document)
    for number, made in enumerate(document["reports"]):
        made["target"]["backend"] = made["target"]["name"]
        for case in made["cases"]:
            for judgement in case["judgements"]:
                judgement |= {"reason": "<script>", "name": "<img src=x>", "link": "javascript:x"}
                judgement["verdict"] = "known deviation"
        made["started"] = f"2026-11-0{number + 1}T00:00:00+00:00"
    found = [Entry("<b>.json", document["run"], made) for made in document["reports"]]
    for name, page in render(collect(found), "# <script>\n\n<img src=x>\n").items():
        elements = Elements(page)
        assert len(elements.all("script")) == (2 if name.startswith("targets/") else 1), name
        assert not elements.all("img")
        assert not elements.all("b")
        assert not [a for a in elements.all("a") if (a.get("href") or "").startswith("javascript")]
        assert re.fullmatch(r"[a-zA-Z0-9./~-]+", name)


def test_the_same_reports_give_the_same_bytes(entries: list[Entry]) -> None:
    assert render(collect(entries)) == render(collect(entries[::-1]))


def test_a_target_that_did_not_start_has_a_page(document: Document) -> None:
    told = {"kind": "TargetCrashed", "message": "expected a handshake, got code 5", "stderr": ""}
    made = {**empty("process:./gone", 3, told), "started": document["run"]["started"]}
    made["seconds"] = 0.0
    pages = render(collect([Entry("gone.json", document["run"], made)]))
    assert "expected a handshake, got code 5" in pages["targets/process-gone-unknown.html"]
    assert "expected a handshake, got code 5" in pages["releases.html"]
    assert "No requirement was judged" in pages["index.html"]


def test_findings_are_a_page_if_there_are_any(entries: list[Entry]) -> None:
    collection = collect(entries)
    without, with_them = render(collection), render(collection, f"# What we found\n\n{ID}\n")
    assert "findings.html" not in "".join(without.values())
    assert {*with_them} - {*without} == {"findings.html"}
    page = with_them["findings.html"]
    assert "<h1>What we found</h1>" in page
    assert f'<a href="requirements/{ID}.html">{ID}</a>' in page
    assert all('findings.html"' in text for text in with_them.values())


# The folder


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    pages = {"index.html": "one"}
    site = tmp_path / "site"
    folder.write(str(site), pages)
    (site / "CNAME").write_text("example.org", "utf-8")
    with pytest.raises(UsageError, match=r"got .*site, which holds CNAME"):
        folder.write(str(site), {"index.html": "two"})
    assert (site / "index.html").read_text("utf-8") == "one"
    (site / "CNAME").unlink()
    (site / folder.MARK).write_text("{", "utf-8")
    with pytest.raises(UsageError, match=r"which holds index\.html"):
        folder.check(str(site))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="got the file"):
        folder.check(str(file))
    with pytest.raises(UsageError, match="in an existing folder"):
        folder.check(str(tmp_path / "absent" / "site"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "site"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UsageError, match=r"that can be written, got .*site: Permission denied"):
        folder.check(str(tmp_path / "site"))


def test_a_page_that_cannot_be_written_leaves_the_old_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    folder.write(str(site), {"index.html": "one", "a/b.html": "old"})
    with pytest.raises(OSError, match="File name too long"):
        folder.write(str(site), {"index.html": "two", "x" * 1000: ""})
    renamed: list[Path] = []

    def refuse(self: Path, target: Path) -> Path:
        renamed.append(self)
        if len(renamed) == 2:
            raise OSError("no")
        self.replace(target)
        return target

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        folder.write(str(site), {"index.html": "two"})
    assert (site / "index.html").read_text("utf-8") == "one"
    assert (site / "a" / "b.html").read_text("utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    monkeypatch.undo()
    folder.write(str(site), {"index.html": "two"})
    assert sorted(path.name for path in site.iterdir()) == ["index.html", folder.MARK]


def test_the_command(quantcheck: Any, several: Path, tmp_path: Path) -> None:
    report = str(several / "report.json")
    done = quantcheck("site", report, "--out", "site")
    assert done.returncode == 0, done.stderr
    files = {p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*.*")}
    mark = json.loads((tmp_path / "site" / folder.MARK).read_text("utf-8"))
    assert files == set(mark["files"])
    told = f"2 targets, {len(files) - 1} pages: site/index.html\n"
    assert done.stdout == told
    before = (tmp_path / "site" / "index.html").read_bytes()
    for arguments, complaint in (
        ((), "the following arguments are required: REPORT.json"),
        ((report, report), "one report of each target and release"),
        ((report, "absent.json"), "got absent.json: No such file or directory"),
        ((report, "--findings", "absent.md"), "--findings to name a text, got absent.md"),
    ):
        done = quantcheck("site", *arguments, "--out", "site")
        assert done.returncode == 2
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "site" / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
