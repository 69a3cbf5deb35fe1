"""Prints what changed between two reports, on one screen per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape

from quantcheck.diff.compare import Change, Comparison, Deviation
from quantcheck.diff.pairs import Diff, verdicts
from quantcheck.report.console import say
from quantcheck.report.looks import LOOKS, VERDICTS

MOST = 8  # changes of a kind that are printed
MOST_LINE = 150
MARKS = {
    "worse": LOOKS["fail"],
    "better": LOOKS["pass"],
    "neither worse nor better": LOOKS["difference"],
}


def print_diff(console: Console, made: Diff) -> None:
    """Print every comparison, then targets of one file alone, and a closing line per target."""
    for each in made.comparisons:
        print_comparison(console, each)
    for name, specs in (("older", made.only_old), ("newer", made.only_new)):
        if specs:
            say(console, f"in the {name} file alone: {', '.join(specs)}")
    for each in made.comparisons:
        say(console, closing(each))


def print_comparison(console: Console, each: Comparison) -> None:
    """Print what changed for one target, what got worse first."""
    console.print(
        f"[bold]{escape(title(each.old))}[/] → [bold]{escape(title(each.new))}[/]",
        highlight=False,
        soft_wrap=True,
    )
    for note in each.notes:
        say(console, f"  only in part: {note}")
    if each.ended:
        style = LOOKS["error"].style
        console.print(
            f"\n[{style}]the newer run ended early[/] {escape(each.ended)}", soft_wrap=True
        )
    _print_changes(console, "worse", each.worse)
    _print_changes(console, "better", each.better)
    _print_changes(console, "neither worse nor better", each.other)
    _print_deviations(console, "known deviations that appeared", each.appeared)
    _print_deviations(console, "known deviations that vanished", each.vanished)
    for name, ids in (("older", each.only_old), ("newer", each.only_new)):
        if ids:
            say(console, f"\nrequirements that the {name} report alone judges: {_some(ids)}")
    say(console, f"\n{_counts(each)}\n")


def title(made: Mapping[str, Any]) -> str:
    """Return name, version and backend of a target, and what was asked for."""
    target = made["target"]
    backend = f" on {target['backend']}" if target["backend"] else ""
    named = f"{target['name']} {target['version']}{backend}" if target["name"] else "not started"
    return f"{named} ({target['spec']}, {made['started'][:10]})"


def closing(each: Comparison) -> str:
    """Return one line for a target: how many requirements got worse and better."""
    ended = "the run ended early, " if each.ended else ""
    meaning = "something got worse (exit 1)" if each.got_worse else "nothing got worse (exit 0)"
    return (
        f"{each.new['target']['spec']}: {ended}{len(each.worse)} worse, {len(each.better)} better, "
        f"{len(each.other)} other, {each.same} the same; {meaning}"
    )


def _print_changes(console: Console, name: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    look = MARKS[name]
    told = f"{len(changes)} requirement{'s' * (len(changes) > 1)}"
    console.print(f"\n[{look.style}]{name}: {told}[/]", highlight=False)
    for change in changes[:MOST]:
        from_to = change.old if change.old == change.new else f"{change.old} → {change.new}"
        number = change.worse or change.better or change.other
        cases = f"{number} of {change.common} cases"
        id_ = change.requirement["id"]
        console.print(
            f"  {id_:<9} [{look.style}]{from_to}[/], {cases}: "
            f"{escape(shorten(change.requirement['text'], MOST_LINE // 2, placeholder=' …'))}",
            highlight=False,
            soft_wrap=True,
        )
        if name == "better":
            continue  # what was wrong matters less
        text = change.telling["reason"] or change.telling["message"]
        before, after = change.before["verdict"], change.after["verdict"]
        where = f"{change.telling['case']}, {before} → {after}"
        say(console, f"            {shorten(f'{where}: {text}', MOST_LINE, placeholder=' …')}")
    if changes[MOST:]:
        say(console, f"  … and {_some([c.requirement['id'] for c in changes[MOST:]], 20)}")


def _print_deviations(console: Console, name: str, found: Sequence[Deviation]) -> None:
    if not found:
        return
    console.print(f"\n[{LOOKS['known deviation'].style}]{name}: {len(found)}[/]", highlight=False)
    for deviation in found[:MOST]:
        ids = ", ".join(deviation.requirements)
        reason = shorten(deviation.reason, MOST_LINE, placeholder=" …")
        say(console, f"  {ids}: {reason}{f' {deviation.link}' if deviation.link else ''}")
    if found[MOST:]:
        say(console, f"  … and {len(found) - MOST} more")


def _some(ids: Sequence[str], most: int = 12) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"{', '.join(ids[:most])}{more}"


def _counts(each: Comparison) -> str:
    """Return the numbers of cases and of verdicts, old → new."""
    old, new = verdicts(each.old), verdicts(each.new)
    parts = [
        f"{old.get(name, 0)} → {new.get(name, 0)} {name}"
        if old.get(name) != new.get(name)
        else f"{new[name]} {name}"
        for name in map(str, VERDICTS)
        if name in old or name in new
    ]
    cases = f"cases: {each.old['asked']} → {each.new['asked']}, {each.common} in both"
    return f"{cases}; requirements: {', '.join(parts)}"
