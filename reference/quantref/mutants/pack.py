"""Mutants of section PACK: packing."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("pack-high-first", "fast.packing", "np.multiply(every, np.uint8(1 << bits * k)",
       "np.multiply(every, np.uint8(1 << bits * (per_byte - 1 - k))",
       "Nibbles are swapped: the first code in the highest bits.", "pack", blames="PACK-010"),
    mutant("pack-pad-front", "fast.packing", "for k in range(per_byte):\n        every = fields",
       "fields = np.concatenate([np.zeros((-len(fields) % per_byte, *fields.shape[1:]), np.uint8), fields])\n    for k in range(per_byte):\n        every = fields",
       "Padding goes before the codes instead of behind them.", "pack", blames="PACK-020"),
    mutant("pack-unsigned", "fast.packing", "    if packed.dtype == np.int8:",
       "    if False:",
       "Signed codes come back without their sign.", "pack", blames="PACK-030"),
    mutant("pack-last-axis", "fast.packing", "fields, bytes_ = np.moveaxis(fields, axis, 0), np.moveaxis(",
       "fields, bytes_ = np.moveaxis(fields, axis, 0)[::-1], np.moveaxis(",
       "The packing axis is walked backwards.", "pack", blames="PACK-010"),
    mutant("pack-3bit-pairs", "packing", "CODES_PER_BYTE = {2: 4, 3: 1, 4: 2, 8: 1}",
           "CODES_PER_BYTE = {2: 4, 3: 2, 4: 2, 8: 1}",
           "Two 3-bit codes share a byte.", "pack", blames="PACK-060"),
    mutant("pack-sign-nibble", "fast.packing", "mask, sign = 2**bits - 1, np.uint8(2 ** (bits - 1))",
           "mask, sign = 2**bits - 1, np.uint8(8)",
           "The sign of a field is taken to be bit 3, whatever its width.", "pack", blames="PACK-030"),
    mutant("pack-unpack-tail", "fast.packing", "            every = front[k::per_byte]\n"
           "            moved = scratch.empty(\"moved\", every.shape, every.dtype)\n"
           "            np.right_shift(lines[: len(every)]",
           "            every = front[(k - len(lines) * per_byte + len(front)) % per_byte :: per_byte]\n"
           "            moved = scratch.empty(\"moved\", every.shape, every.dtype)\n"
           "            np.right_shift(lines[len(lines) - len(every) :]",
           "Unpacking drops codes at the front where it should drop padding at the end.", "pack", blames="PACK-040"),
    mutant("pack-length-unchecked", "inputs.arrays", "if number < 0 or -(-number // per_byte) != n_bytes:",
           "number = min(number, n_bytes * per_byte)\n    if number < 0:",
           "A length that does not belong to the packed bytes is taken.", "pack", blames="PACK-080"),
    mutant("pack-range-unchecked", "fast.packing", "        if outside:",
           "        if False:",
           "Codes that do not fit lose their upper bits.", "pack", blames="PACK-080"),
)  # fmt: skip
