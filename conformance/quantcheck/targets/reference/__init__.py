"""Target `reference`: the NumPy reference answers questions."""
