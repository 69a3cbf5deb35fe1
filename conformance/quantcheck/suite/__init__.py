"""The suite for pytest, through `quantcheck.plugin`; `quantcheck TARGET` needs no pytest."""
