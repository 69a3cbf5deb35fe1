"""`quantcheck diff`: two reports, and what got worse."""
