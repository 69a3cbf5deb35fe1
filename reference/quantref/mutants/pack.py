"""Mutants of section PACK: packing."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("pack-high-first", "packing", "packed |= fields[k::per_byte] << (bits * k)",
       "packed |= fields[k::per_byte] << (bits * (per_byte - 1 - k))",
       "Nibbles are swapped: the first code in the highest bits.", "pack"),
    mutant("pack-pad-front", "packing", "[fields, np.zeros((padding, *fields.shape[1:]), np.uint8)]",
       "[np.zeros((padding, *fields.shape[1:]), np.uint8), fields]",
       "Padding goes before the codes instead of behind them.", "pack"),
    mutant("pack-unsigned", "packing", "return ((codes ^ sign) - sign).view(np.int8)",
       "return codes.view(np.int8)",
       "Signed codes come back without their sign.", "pack"),
    mutant("pack-last-axis", "packing", "fields = np.moveaxis(array, axis, 0).view(np.uint8)",
       "fields = np.moveaxis(array, axis, 0)[::-1].view(np.uint8)",
       "The packing axis is walked backwards.", "pack"),
)  # fmt: skip
