"""Mutants of kernels of section PACK: packing."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

PACK = ("quantref.fast.packing", "_pack")
UNPACK = ("quantref.fast.packing", "_unpack")
MOVED = (*PACK, "bytes_[: len(every)] |= moved")
SIGN = (*UNPACK, "np.subtract(fields, sign, out=fields)")
EVERY = (*UNPACK, "np.bitwise_and(moved, every_mask, out=every)")
FIELDS = ("quantref.formats.packed", "pack_fields", "return words.astype(made.dtype)")
LAYER = ("quantref.formats.packed", "pack_layer")

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
    kernel("pack-layer-straddling-late", (*FIELDS, "words[..., 16:] *= bits != 3 or made.whole; return words.astype(made.dtype)"),
           "From word 16 of a line on, words of 3-bit codes are lost.", "pack", blames="PACK-090", size="171 codes of 3 bits in a line"),
    kernel("pack-layer-rows-64", (*LAYER, "PackedLayer(np.ascontiguousarray(words.T), zeros)", "PackedLayer(np.where(np.arange(len(words)) < 64, words.T, 0), zeros)"),
           "Rows from 64 on are lost in the formats of GPTQ.", "pack", blames="PACK-100", size="65 rows in a format of GPTQ"),
    kernel("pack-layer-v1-64", (*LAYER, "z - np.uint8(made.off_by_one)", "z - np.uint8(made.off_by_one) * (np.arange(len(z)) < 64)[:, None]"),
           "From row 64 on, z is stored for z.", "pack", blames="PACK-110", size="65 rows in gptq_v1"),
    kernel("pack-layer-zeros-late", (*LAYER, "PackedLayer(words, np.ascontiguousarray(zeros.T))",
           "PackedLayer(words, zeros.T * (made.whole | (np.arange(zeros.shape[1]) < 3))[:, None].astype(made.dtype))"),
           "From the fourth word on, zero-points of compressed-tensors are lost.", "pack", blames="PACK-120", size="four words of zero-points"),
    kernel("pack-layer-whole-64", (*LAYER, "words = pack_fields(q, bits, made)",
           "words = pack_fields(q * ((not made.whole) | (np.arange(q.shape[1]) < 64)).astype(np.uint8), bits, made)"),
           "From code 64 on, whole codes in words are lost.", "pack", blames="PACK-130", size="65 columns in compressed_tensors_whole"),
    kernel("pack-layer-blocks-late", (*LAYER, "lines[:, : q.shape[1]] = q", "lines[:, : q.shape[1]] = q; lines[:, 8 * size :] = 0"),
           "From block 8 on, codes of MatMulNBits are lost.", "pack", blames="PACK-140", size="nine blocks"),
    kernel("pack-layer-back-late", ("quantref.formats.packed", "unpack_fields",
           "fields = binary.reshape(*words.shape[:-1], count, bits)",
           "fields = binary.reshape(*words.shape[:-1], count, bits).copy(); fields[..., 64:, :] = 0"),
           "From code 64 of a line on, unpacked codes are lost.", "pack", blames="PACK-150", size="65 codes in a line to unpack"),
    kernel("pack-ternary-byte-256", ("quantref.formats.ternary", "pack_ternary", "np.asarray(packed, np.uint8)",
           "np.asarray(packed * (np.arange(len(packed)) < 256).reshape(-1, *[1] * (np.ndim(packed) - 1)), np.uint8)"),
           "From byte 256 on, ternary codes are lost.", "pack", blames="PACK-170", size="257 bytes of ternary codes"),
    kernel("pack-ternary-fill-late", ("quantref.formats.ternary", "pack_ternary", "digits[: len(lines)] = lines + 1",
           "digits[1280:] = 0; digits[: len(lines)] = lines + 1"),
           "The last of more than 256 bytes is filled with digits 0.", "pack", blames="PACK-180", size="257 bytes of ternary codes"),
    kernel("pack-ternary-back-late", ("quantref.formats.ternary", "unpack_ternary", "codes[k::TRITS_PER_BYTE] = lines // 3**k % 3 - 1",
           "codes[k::TRITS_PER_BYTE] = lines // 3**k % 3 - 1; codes[1280 + k :: TRITS_PER_BYTE] = 0"),
           "From code 1280 on, unpacked ternary codes are 0.", "pack", blames="PACK-190", size="1281 ternary codes to unpack"),
    kernel("pack-ternary-range-late", ("quantref.inputs.arrays", "require_ternary", "outside(array, *bounds)",
           "outside(array.reshape(-1)[:256], *bounds)"),
           "A code behind the first 256 that is not ternary is accepted.", "pack", blames="PACK-200", size="257 codes of which one is refused"),
)  # fmt: skip
