"""The algorithms in exact rational arithmetic, and bounds on the rounding errors of others."""
