"""Runs the suite on a target: cases, known deviations and verdicts; and the suite's self-test."""
