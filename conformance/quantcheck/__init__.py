"""Conformance suite for quantizers: any target, a verdict per requirement of SPEC.md."""

from __future__ import annotations

__all__: list[str] = []
