"""Naming the bug: which requirement a wrong answer breaks, by the mistake that explains it."""
