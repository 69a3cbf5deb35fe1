"""Mutants of kernels of section PACK: packing."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

PACK = ("quantref.fast.packing", "_pack")
UNPACK = ("quantref.fast.packing", "_unpack")
MOVED = (*PACK, "bytes_[: len(every)] |= moved")
SIGN = (*UNPACK, "np.subtract(fields, sign, out=fields)")
EVERY = (*UNPACK, "np.bitwise_and(moved, every_mask, out=every)")

MUTANTS: tuple[Mutant, ...] = (
    kernel("pack-byte-256", (*MOVED, "moved[256:] = every[256:] * np.uint8(1 << bits * (per_byte - 1 - k)); bytes_[: len(every)] |= moved"),
           "From byte 256 on, the first code is in the highest bits.", "pack", blames="PACK-010", size="257 packed bytes"),
    kernel("pack-line-64", (*MOVED, """
           if moved.size > 64 * max(len(moved), 1):
               lines = moved.reshape(len(moved), -1)
               lines[:, 64] = lines[:, 63]
           bytes_[: len(every)] |= moved
           """),
           "One line of many, the first behind 64, gets the bytes of the line before.", "pack", blames="PACK-010", size="65 lines"),
    kernel("pack-padding-late", (*PACK, "bytes_[...] = 0", "bytes_[...] = 0; bytes_[64:][-1:] |= np.uint8(256 - 2 ** (8 - bits)) if len(fields) % per_byte else np.uint8(0)"),
           "The last of more than 64 bytes is filled with ones behind the codes.", "pack", blames="PACK-020", size="65 packed bytes"),
    kernel("pack-words-any", (*PACK, "_in_words(fields, axis) and codes.shape[axis] % per_byte == 0", "_in_words(fields, axis) and codes.shape[axis] % per_byte < 2"),
           "Codes along the last axis are moved as whole words, even if a word is not full.", "pack", blames="PACK-070", size="an odd number of codes among 4096"),
    kernel("pack-words-order", (*PACK, "np.right_shift(words, (8 - bits) * k, out=moved)", "np.right_shift(words, (8 - bits) * k - (k == per_byte - 1), out=moved)"),
           "Codes that are moved as words are shifted by one bit too few.", "pack", blames="PACK-070", size="4096 codes along the last axis"),
    kernel("pack-2bit-late", (*MOVED, "moved = moved * np.uint8(not (bits == 2 and k == 3 and len(moved) > 256)); bytes_[: len(every)] |= moved"),
           "The fourth code of a byte is lost, from 257 bytes on.", "pack", blames="PACK-050", size="1025 codes of 2 bits"),
    kernel("pack-bytes-late", (*PACK, "packed[...] = codes", "packed[...] = codes; np.moveaxis(packed, axis, 0)[256:] = 0"),
           "From code 256 on, 3- and 8-bit codes are lost.", "pack", blames="PACK-060", size="257 codes of 3 or 8 bits"),
    kernel("pack-unpack-byte-256", (*EVERY, "moved[256:] = np.right_shift(lines[: len(every)], every.dtype.type(bits * (per_byte - 1 - k)))[256:]; np.bitwise_and(moved, every_mask, out=every)"),
           "From byte 256 on, the first code is taken from the highest bits.", "pack", blames="PACK-040", size="257 packed bytes"),
    kernel("pack-unpack-odd", (*EVERY, "np.bitwise_and(moved, every_mask, out=every); front[128:][-1:] = 0 if len(front) % per_byte else front[128:][-1:]"),
           "The last of more than 128 codes is lost if it does not fill its byte.", "pack", blames="PACK-040", size="129 codes"),
    kernel("pack-unpack-eights", (*EVERY, "np.bitwise_and(moved, every_mask if front.dtype.itemsize == 1 else every_mask >> 8, out=every)"),
           "Where eight codes of a line are taken at once, the eighth one is lost.", "pack", blames="PACK-040", size="lines of eight codes along the first axis"),
    kernel("pack-unpack-sign-late", (*SIGN, "np.subtract(fields, np.where((np.arange(fields.size) < 4096).reshape(fields.shape), sign, 0), out=fields, casting=\"unsafe\")"),
           "From code 4096 on, the signs of unpacked codes are lost.", "pack", blames="PACK-040", size="4096 codes"),
    kernel("pack-range-late", ("quantref.fast.packing", "pack_codes",
           "part.size and (int(part.max()) > hi or (lo < 0 and int(part.min()) < lo))",
           "part.size and (int(part[:64].max()) > hi or (lo < 0 and int(part[:64].min()) < lo))"),
           "Codes outside their range are found among the first 64 alone.", "pack", blames="PACK-080", size="65 codes that must be refused"),
)  # fmt: skip
