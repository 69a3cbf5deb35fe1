"""Mutants of section PACK: packing."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("pack-high-first", "packing", "packed |= fields[k::per_byte] * np.uint8(1 << bits * k)",
       "packed |= fields[k::per_byte] * np.uint8(1 << bits * (per_byte - 1 - k))",
       "Nibbles are swapped: the first code in the highest bits.", "pack", blames="PACK-010"),
    mutant("pack-pad-front", "packing", "[fields, np.zeros((padding, *fields.shape[1:]), np.uint8)]",
       "[np.zeros((padding, *fields.shape[1:]), np.uint8), fields]",
       "Padding goes before the codes instead of behind them.", "pack", blames="PACK-020"),
    mutant("pack-unsigned", "packing", "return ((codes ^ sign) - sign).view(np.int8)",
       "return codes.view(np.int8)",
       "Signed codes come back without their sign.", "pack", blames="PACK-030"),
    mutant("pack-last-axis", "packing", "fields = np.moveaxis(codes, axis, 0).view(np.uint8)",
       "fields = np.moveaxis(codes, axis, 0)[::-1].view(np.uint8)",
       "The packing axis is walked backwards.", "pack", blames="PACK-010"),
    mutant("pack-3bit-pairs", "packing", "CODES_PER_BYTE = {2: 4, 3: 1, 4: 2, 8: 1}",
           "CODES_PER_BYTE = {2: 4, 3: 2, 4: 2, 8: 1}",
           "Two 3-bit codes share a byte.", "pack", blames="PACK-060"),
    mutant("pack-sign-nibble", "packing", "sign = np.uint8(2 ** (bits - 1))",
           "sign = np.uint8(8)",
           "The sign of a field is taken to be bit 3, whatever its width.", "pack", blames="PACK-030"),
    mutant("pack-unpack-tail", "packing", ".reshape(whole)[:length]",
           ".reshape(whole)[len(front[0]) * per_byte - length :]",
           "Unpacking drops codes at the front where it should drop padding at the end.", "pack", blames="PACK-040"),
    mutant("pack-length-unchecked", "packing", "if length < 0 or -(-length // per_byte) != array.shape[axis]:",
           "length = min(length, array.shape[axis] * per_byte)\n    if length < 0:",
           "A length that does not belong to the packed bytes is taken.", "pack", blames="PACK-080"),
    mutant("pack-range-unchecked", "packing", "        if outside:",
           "        if False:",
           "Codes that do not fit lose their upper bits.", "pack", blames="PACK-080"),
)  # fmt: skip
