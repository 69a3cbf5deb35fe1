"""Files that other programs load, each written and read back.

`codes` holds what was computed, exactly; `files` writes any file whole or not at all.
"""
