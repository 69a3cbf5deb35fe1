"""The algorithms in exact rational arithmetic, and the bounds on honest rounding errors."""
