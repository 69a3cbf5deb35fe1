"""The settings of a run: target, cases and draws; for the command and for the pytest plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from quantcheck import properties
from quantcheck.errors import UsageError
from quantcheck.run.draws import Draws
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets import Target, default_workers, open_target

KINDS = ("vectors", "generated")
LARGE_LIMIT = 600.0  # seconds for one answer; the largest questions are lines of 160 MB


@dataclass(frozen=True)
class Settings:
    """The settings of one run, validated when they are made.

    Attributes
    ----------
    target : str
        One of the forms of `quantcheck.targets.list_targets`.
    vectors, deviations : Path, optional
        They replace the package's own.
    reasons : Path, optional
        Deviations of another version, whose entries are proposed where their causes predict
        answers.
    draws : Draws
        How samples of properties are drawn.
    workers : int, optional
        Number of processes of the target; by default 1, for Keras 2.
    only : str, optional
        "vectors" or "generated": only cases of this kind are asked.
    sections : tuple of str
    time_limit : float, optional
        Seconds for one answer; by default that of the target, and 600 with `large`.
    large : bool
        Whether vectors of more than 512 columns are asked too.

    Raises
    ------
    UsageError
        The message names the invalid option.

    Examples
    --------
    >>> Settings("reference", workers=0)
    Traceback (most recent call last):
    quantcheck.errors.UsageError: expected --workers of at least 1, got 0
    """

    target: str
    vectors: Path | None = None
    deviations: Path | None = None
    reasons: Path | None = None
    draws: Draws = field(default_factory=Draws)
    workers: int | None = None
    only: str | None = None
    sections: tuple[str, ...] = SECTIONS
    time_limit: float | None = None
    large: bool = False

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError("--time-limit above 0", f"{self.time_limit:g}")
        if self.workers is not None and self.workers < 1:
            raise UsageError("--workers of at least 1", f"{self.workers}")
        if self.only not in (None, *KINDS):
            raise UsageError(f"--only in {', '.join(KINDS)}", f"{self.only}")
        if not set(self.sections) <= set(SECTIONS):
            raise UsageError(f"sections in {', '.join(SECTIONS)}", f"{', '.join(self.sections)}")
        for name in ("deviations", "reasons"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(f"--{name} to name a file", f"{path}")
        if self.vectors is not None and not self.vectors.is_dir():
            raise UsageError("--vectors to name a directory", f"{self.vectors}")
        open_target(self.target)

    def targets(self) -> list[Target]:
        """Build the processes of the target, none of them started."""
        # Code that JAX compiles for the default questions is kept for the next run.
        default = self.draws == Draws()
        compiled = platformdirs.user_cache_path("quantcheck") / "jax" if default else None
        limit = self.time_limit or (LARGE_LIMIT if self.large else None)
        first = open_target(self.target, time_limit=limit, compiled=compiled)
        count = self.workers or default_workers(first)
        others = (
            open_target(self.target, time_limit=limit, compiled=compiled) for _ in range(count - 1)
        )
        return [first, *others]

    def further(self, targets: Sequence[Target]) -> Target | None:
        """Build a process that is asked again, not started; None if another of `targets` can be.

        A file of answers gives every answer once.
        """
        if len(targets) > 1 or not targets[0].parallel:
            return None
        limit = self.time_limit or (LARGE_LIMIT if self.large else None)
        return open_target(self.target, time_limit=limit)


def add_options(add: Callable[..., Any]) -> None:
    """Add an option for each setting, to a parser of argparse or to a group of pytest's."""
    add("--vectors", metavar="DIR", help="golden vectors instead of the package's")
    add("--deviations", metavar="FILE", help="known deviations instead of the package's")
    add("--time-limit", type=float, metavar="S", help="seconds per question (60; Keras 300)")
    add("--workers", type=int, metavar="N", help="processes of a target (1; Keras 2)")
    add("--large", action="store_true", help="ask vectors of up to 4096 columns too, 600 s each")
    add("--only", choices=KINDS, help="ask cases of this kind only")
    add("--fuzz", type=float, metavar="MINUTES", help="draw generated cases for this time")
    add("--seed", type=int, metavar="N", help="seed of generated cases; the default is fixed")
    add("--section", action="append", choices=SECTIONS, help="this section alone (repeatable)")


def settings_of(options: Any, target: str, reasons: str | None = None) -> Settings:
    """Return the settings that options describe.

    Parameters
    ----------
    options : namespace
        Parsed options of a parser with `add_options`.
    target : str
    reasons : str, optional
        Path of a deviation file of another version.

    Raises
    ------
    UsageError
        The message names the invalid option.
    """
    return Settings(
        target,
        vectors=_path(options.vectors),
        deviations=_path(options.deviations),
        reasons=_path(reasons),
        draws=draws_of(options.seed, options.fuzz),
        workers=options.workers,
        only=options.only,
        sections=tuple(options.section or SECTIONS),
        time_limit=options.time_limit,
        large=options.large,
    )


def draws_of(seed: int | None, minutes: float | None) -> Draws:
    """Return the draws of a seed; with a time budget they have any small shape."""
    chosen = Draws() if seed is None else Draws(seed=seed)
    if minutes is None:
        return chosen
    if not minutes > 0:
        raise UsageError("--fuzz above 0", f"{minutes:g}")
    return replace(chosen, free=True, seconds=60.0 * minutes / len(properties.load()))


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None
