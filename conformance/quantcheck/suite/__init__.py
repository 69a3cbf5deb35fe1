"""The suite: one module per section of SPEC.md, loaded through `quantcheck.plugin`."""
