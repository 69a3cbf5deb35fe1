"""`quantcheck site`: one static site of many reports."""
