"""The sections of SPEC.md that a target is judged by, in their order."""

SECTIONS = ("cfg", "rnd", "aff", "abs", "pack", "hes", "gptq", "lay", "cal", "four")
