"""Section AFF: `cases` has the cases, `build` computes their expected values."""
