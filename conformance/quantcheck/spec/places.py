"""Paths of SPEC.md, vectors and findings, in the installed package or in the checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parents[1]


def directory() -> Path:
    """Return the folder of the golden vectors.

    Examples
    --------
    >>> (directory() / "MANIFEST.json").is_file()
    True
    """
    packaged = PACKAGE / "_vectors"
    return packaged if packaged.is_dir() else CHECKOUT / "vectors"


def findings_path() -> Path | None:
    """Return the path of the findings; None where there are none, as in the installed package."""
    path = CHECKOUT / "conformance" / "FINDINGS.md"
    return path if path.is_file() else None


def spec_path() -> Path:
    """Return the path of SPEC.md.

    Examples
    --------
    >>> spec_path().name
    'SPEC.md'
    """
    packaged = PACKAGE / "_spec" / "SPEC.md"
    return packaged if packaged.is_file() else CHECKOUT / "SPEC.md"
