"""Section LAY: `cases` and `packed` have the cases, `build` and `rows` their expected values."""
