"""Mutants of section PACK: packing."""

from functools import partial

from quantcheck.mutants.mutant import Edit, Mutant, mutant

pack = partial(Edit, "quantref.packing", "pack_codes")
unpack = partial(Edit, "quantref.packing", "unpack_codes")

MUTANTS: tuple[Mutant, ...] = (
    mutant("pack-high-first", "quantref.fast.packing", "_pack",
           "1 << bits * k",
           "1 << bits * (per_byte - 1 - k)",
           "Nibbles are swapped: the first code in the highest bits.", "pack", blames="PACK-010",
           mirror=pack("fields[k::p] << width * k",
                  "fields[k::p] << width * (p - 1 - k)")),
    mutant("pack-pad-front", "quantref.fast.packing", "_pack",
           "bytes_[...] = 0",
           """
           bytes_[...] = 0
           fields = np.concatenate([np.zeros((-len(fields) % per_byte, *fields.shape[1:]), np.uint8), fields])
           """,
           "Padding is put before the codes instead of after them.", "pack", blames="PACK-020",
           mirror=pack("fields[: len(lines)] = lines.astype(np.uint8) & (2**width - 1)",
                  "fields[len(fields) - len(lines) :] = lines.astype(np.uint8) & (2**width - 1)")),
    mutant("pack-unsigned", "quantref.fast.packing", "_unpack",
           "packed.dtype == np.int8",
           "False",
           "Signed codes come back without their sign.", "pack", blames="PACK-030",
           mirror=unpack("if signed:\n    codes[codes >= 2 ** (width - 1)] -= 2**width",
                  "pass")),
    mutant("pack-last-axis", "quantref.fast.packing", "_pack",
           "np.moveaxis(fields, axis, 0)",
           "np.moveaxis(fields, axis, 0)[::-1]",
           "Codes are packed in reverse order along the axis.", "pack", blames="PACK-010",
           mirror=pack("np.moveaxis(q, axis, 0)",
                  "np.moveaxis(q, axis, 0)[::-1]")),
    mutant("pack-3bit-pairs", "quantref.packing", "",
           "{2: 4, 3: 1, 4: 2, 8: 1}",
           "{2: 4, 3: 2, 4: 2, 8: 1}",
           "Two 3-bit codes share a byte.", "pack", blames="PACK-060"),
    mutant("pack-sign-nibble", "quantref.fast.packing", "_unpack",
           "np.uint8(2 ** (bits - 1))",
           "np.uint8(8)",
           "The sign of a field of any width is taken to be bit 3.", "pack", blames="PACK-050",
           mirror=unpack("codes >= 2 ** (width - 1)",
                  "codes >= 8")),
    mutant("pack-unpack-tail", "quantref.fast.packing", "_unpack",
           """
           every = front[k::per_byte]
           moved = scratch.empty("moved", every.shape, every.dtype)
           np.right_shift(lines[: len(every)], every.dtype.type(bits * k), out=moved)
           """,
           """
           every = front[(k - len(lines) * per_byte + len(front)) % per_byte :: per_byte]
           moved = scratch.empty("moved", every.shape, every.dtype)
           np.right_shift(lines[len(lines) - len(every) :], every.dtype.type(bits * k), out=moved)
           """,
           "Unpacking drops codes at the front instead of padding at the end.", "pack", blames="PACK-040",
           mirror=unpack("codes[:length]",
                  "codes[len(codes) - length :]")),
    mutant("pack-length-unchecked", "quantref.inputs.arrays", "require_length",
           "number < 0 or -(-number // per_byte) != n_bytes",
           "(number := min(number, n_bytes * per_byte)) < 0",
           "A length that does not match the packed bytes is accepted.", "pack", blames="PACK-080"),
    mutant("pack-range-unchecked", "quantref.fast.packing", "pack_codes",
           "part.size and (int(part.max()) > hi or (lo < 0 and int(part.min()) < lo))",
           "False",
           "Codes that do not fit are accepted, and lose their upper bits.", "pack", blames="PACK-080",
           mirror=pack("require_codes(q, *code_bounds(bits, signed=q.dtype == np.int8), bits)",
                  "pass")),
    mutant("pack-layer-field-lost", "quantref.formats.packed", "pack_fields",
           "made.word // bits if made.whole else lines.shape[-1]",
           "made.word // bits",
           "A field that does not fit into its word begins in the next one.", "pack", blames="PACK-090"),
    mutant("pack-layer-rows", "quantref.formats.packed", "",
           "PackedFormat(np.int32, columns_first=True)",
           "PackedFormat(np.int32)",
           "The words of a row of GPTQ's v2 are in a row.", "pack", blames="PACK-100"),
    mutant("pack-layer-same-zeros", "quantref.formats.packed", "pack_layer",
           "z - np.uint8(made.off_by_one)",
           "z",
           "GPTQ's v1 stores z, not z - 1.", "pack", blames="PACK-110"),
    mutant("pack-layer-zeros-in-columns", "quantref.formats.packed", "pack_layer",
           "PackedLayer(words, np.ascontiguousarray(zeros.T))",
           "PackedLayer(words, pack_fields(stored, bits, made))",
           "Zero-points of compressed-tensors are packed along the groups.", "pack", blames="PACK-120"),
    mutant("pack-layer-whole-straddles", "quantref.formats.packed", "",
           "PackedFormat(np.int32, whole=True)",
           "PackedFormat(np.int32)",
           "Whole codes in a word are a run of bits.", "pack", blames="PACK-130"),
    mutant("pack-layer-one-run", "quantref.formats.packed", "pack_layer",
           "pack_fields(stored, bits, made)",
           "stored",
           "Zero-points of MatMulNBits are one to a byte.", "pack", blames="PACK-140"),
    mutant("pack-layer-transposed-back", "quantref.formats.packed", "unpack_layer",
           "unpack_fields(zeros, n_out, bits, made).T",
           "unpack_fields(zeros, n_out, bits, made)[::-1].T",
           "Zero-points come back with their groups reversed.", "pack", blames="PACK-150"),
    mutant("pack-layer-guessed-zero", "quantref.formats.packed", "unpack_layer",
           "(stored == 2**bits - 1).any()",
           "False",
           "A stored zero-point of 2^b - 1 in GPTQ's v1 is read as 2^b.", "pack", blames="PACK-160"),
    mutant("pack-layer-range-unchecked", "quantref.formats.packed", "_require_fields",
           "require_codes(array, 0, 2**bits - 1, bits, name=name, requirement='PACK-160')",
           "pass",
           "Codes that do not fit are accepted, and lose their upper bits.", "pack", blames="PACK-160"),
)  # fmt: skip
