"""SPEC.md as data: where it lies, its sections, and its requirements."""
