"""Mutants of section PACK: packing."""

from quantcheck.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("pack-high-first", "quantref.packing", "_pack",
           "1 << bits * k",
           "1 << bits * (per_byte - 1 - k)",
           "Nibbles are swapped: the first code in the highest bits.", "pack", blames="PACK-010"),
    mutant("pack-pad-front", "quantref.packing", "_pack",
           "bytes_[...] = 0",
           """
           bytes_[...] = 0
           fields = np.concatenate([np.zeros((-len(fields) % per_byte, *fields.shape[1:]), np.uint8), fields])
           """,
           "Padding goes before the codes instead of behind them.", "pack", blames="PACK-020"),
    mutant("pack-unsigned", "quantref.packing", "_unpack",
           "packed.dtype == np.int8",
           "False",
           "Signed codes come back without their sign.", "pack", blames="PACK-030"),
    mutant("pack-last-axis", "quantref.packing", "_pack",
           "np.moveaxis(fields, axis, 0)",
           "np.moveaxis(fields, axis, 0)[::-1]",
           "The packing axis is walked backwards.", "pack", blames="PACK-010"),
    mutant("pack-3bit-pairs", "quantref.packing", "",
           "{2: 4, 3: 1, 4: 2, 8: 1}",
           "{2: 4, 3: 2, 4: 2, 8: 1}",
           "Two 3-bit codes share a byte.", "pack", blames="PACK-060"),
    mutant("pack-sign-nibble", "quantref.packing", "_unpack",
           "np.uint8(2 ** (bits - 1))",
           "np.uint8(8)",
           "The sign of a field is taken to be bit 3, whatever its width.", "pack", blames="PACK-030"),
    mutant("pack-unpack-tail", "quantref.packing", "_unpack",
           """
           every = front[k::per_byte]
           moved = room.of("moved", every.shape, every.dtype)
           np.right_shift(lines[: len(every)], every.dtype.type(bits * k), out=moved)
           """,
           """
           every = front[(k - len(lines) * per_byte + len(front)) % per_byte :: per_byte]
           moved = room.of("moved", every.shape, every.dtype)
           np.right_shift(lines[len(lines) - len(every) :], every.dtype.type(bits * k), out=moved)
           """,
           "Unpacking drops codes at the front where it should drop padding at the end.", "pack", blames="PACK-040"),
    mutant("pack-length-unchecked", "quantref.packing", "unpack_codes",
           "length < 0 or -(-length // per_byte) != array.shape[axis]",
           "(length := min(length, array.shape[axis] * per_byte)) < 0",
           "A length that does not belong to the packed bytes is taken.", "pack", blames="PACK-080"),
    mutant("pack-range-unchecked", "quantref.packing", "pack_codes",
           "part.size and (int(part.max()) > hi or (lo < 0 and int(part.min()) < lo))",
           "False",
           "Codes that do not fit lose their upper bits.", "pack", blames="PACK-080"),
)  # fmt: skip
