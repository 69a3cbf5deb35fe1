"""Mutants of section CAL: calibration."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("cal-back-to-back", "calibration", "k * spare // max(count - 1, 1)", "k * length",
     "Windows follow each other from the start: the end of the dataset is never seen.", "cal", blames="CAL-040"),
    mutant("cal-overlap", "calibration", "k * spare // max(count - 1, 1)", "k * (spare + 1) // count",
     "Starts are spread over the places that a window can have: neighbours overlap.", "cal", blames="CAL-030"),
    mutant("cal-last-dropped", "calibration", "for k in range(count)]",
     "for k in [*range(count - 1), 0]]",
     "The last window is the first one again.", "cal", blames="CAL-030"),
    mutant("cal-tokens-repeated", "calibration", "if len(tokens) < needed:  # [CAL-070]",
     "tokens = np.resize(tokens, max(needed, len(tokens)))\n    if len(tokens) < needed:",
     "A dataset that is too short is repeated until it is long enough.", "cal", blames="CAL-070"),
    mutant("cal-first-item", "calibration", "*pieces])  # [CAL-020]", "*pieces[:1]])",
     "Only the first item of the dataset is read.", "cal", blames="CAL-020"),
    mutant("cal-shifted", "calibration", "starts[:, None] + np.arange(length)",
     "starts[:, None] + np.arange(length) - 1",
     "Windows start one token early, the first one with the last token.", "cal", blames="CAL-020"),
    mutant("cal-no-callable", "calibration", "    if callable(tokenizer):\n", "    if False:\n",
     "A tokenizer that is a plain function is refused.", "cal", blames="CAL-060"),
    mutant("cal-floats-cast", "calibration", 'if array.dtype.kind not in "iu":',
     'if array.dtype.kind not in "iuf":',
     "Floats are cut to tokens.", "cal", blames="CAL-080"),
)  # fmt: skip
