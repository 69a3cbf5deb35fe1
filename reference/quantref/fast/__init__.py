"""The functions of the section modules, for speed.

A fast function returns what its plain form returns, and points to it. Three ideas make it fast: it
reads memory once instead of once per operation, it divides work among threads, and it computes in
single precision where the result allows.
"""
