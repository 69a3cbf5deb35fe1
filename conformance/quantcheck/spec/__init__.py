"""SPEC.md as data: its path, its sections, and its requirements."""
