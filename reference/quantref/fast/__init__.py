"""The section modules once more, for speed: the same results, tested equal."""
