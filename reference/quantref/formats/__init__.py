"""Files that other programs load, each written and read back.

`codes` writes and reads exact codes and scales; `files` writes a file completely or not at all;
`packed` packs the codes of a layer as other libraries do, `ternary` codes in base 3.
"""
