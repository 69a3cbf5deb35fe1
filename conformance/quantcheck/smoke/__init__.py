"""`quantcheck smoke TARGET`: tests whether a target speaks the protocol."""
