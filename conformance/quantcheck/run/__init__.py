"""One run: a target, the cases, the known deviations, and the verdicts."""
