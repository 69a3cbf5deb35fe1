"""Finds the requirement that a wrong answer breaks, by the mistake that explains the answer."""
