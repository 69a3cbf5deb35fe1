"""Known deviations: one file per target and released version.  [VER-120]

An entry names a cause. It covers a failure only if the answer is what the cause predicts. An entry
whose prediction does not occur in questions where it should fails the run, and so does a failure
that no entry covers.
"""

from __future__ import annotations

from quantcheck.deviations.entries import DIRECTORY, Deviation, load, path_for, read
from quantcheck.deviations.matching import Matching

__all__ = ["DIRECTORY", "Deviation", "Matching", "load", "path_for", "read"]
