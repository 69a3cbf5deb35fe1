"""Reports: on the terminal, as JSON, as a page, for JUnit readers, as a badge."""

from __future__ import annotations

from quantcheck.report.document import empty
from quantcheck.report.matrix import print_matrix
from quantcheck.report.terminal import print_report, print_targets, print_unexplained

__all__ = ["empty", "print_matrix", "print_report", "print_targets", "print_unexplained"]
