//! Section 5: several codes in a byte.

use crate::arrays::{refused, Answer, Array, Dtype};

/// The axis, counted from the start. [PACK-070] [PACK-080]
fn check(array: &Array, bits: i128, axis: i128) -> Answer<usize> {
    if ![2, 3, 4, 8].contains(&bits) {
        return refused(format!("expected 2, 3, 4 or 8 bits, got {bits} [PACK-080]"));
    }
    if !matches!(array.dtype, Dtype::Int(8) | Dtype::Uint(8)) {
        return refused(format!("expected int8 or uint8, got {} [PACK-080]", array.dtype.name()));
    }
    axis_of(array, axis, "PACK-080")
}

/// The axis, counted from the start. [PACK-070]
fn axis_of(array: &Array, axis: i128, requirement: &str) -> Answer<usize> {
    let rank = array.rank() as i128;
    if axis < -rank || axis >= rank {
        return refused(format!("expected an axis of rank {rank}, got {axis} [{requirement}]"));
    }
    Ok(axis.rem_euclid(rank) as usize)
}

fn codes_per_byte(bits: i128) -> usize {
    match bits {
        2 => 4, // [PACK-050]
        4 => 2, // [PACK-010]
        _ => 1, // [PACK-060]
    }
}

fn check_range(codes: &[i128], dtype: Dtype, bits: i128) -> Answer<()> {
    let signed = matches!(dtype, Dtype::Int(_));
    let (low, high) =
        if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
    if codes.iter().any(|code| !(low..=high).contains(code)) {
        return refused(format!("expected codes in {low} to {high} [PACK-080]"));
    }
    Ok(())
}

/// The array with `length` elements along the axis, each made from the line that it belongs to.
fn along(
    array: &Array,
    axis: usize,
    length: usize,
    element: impl Fn(&[i128], usize) -> i128,
) -> Array {
    let values = array.whole("codes").unwrap();
    let size = array.shape[axis];
    let inner: usize = array.shape[axis + 1..].iter().product();
    let outer: usize = array.shape[..axis].iter().product();
    let mut shape = array.shape.clone();
    shape[axis] = length;
    let mut result = vec![0; outer * length * inner];
    for o in 0..outer {
        for i in 0..inner {
            let line: Vec<i128> = (0..size).map(|k| values[(o * size + k) * inner + i]).collect();
            for k in 0..length {
                result[(o * length + k) * inner + i] = element(&line, k);
            }
        }
    }
    Array::integers(array.dtype, &shape, result)
}

/// Unsigned bits as a number of the dtype. [PACK-030]
fn as_dtype(byte: i128, dtype: Dtype, bits: i128) -> i128 {
    let signed = matches!(dtype, Dtype::Int(_)) && byte >= 1 << (bits - 1);
    if signed {
        byte - (1 << bits)
    } else {
        byte
    }
}

/// Bytes of codes; a field that no code fills is 0. [PACK-020]
pub fn pack(codes: &Array, bits: i128, axis: i128) -> Answer<Array> {
    let axis = check(codes, bits, axis)?;
    check_range(codes.whole("codes")?, codes.dtype, bits)?;
    let count = codes_per_byte(bits);
    if count == 1 {
        return Ok(codes.clone());
    }
    let length = codes.shape[axis].div_ceil(count);
    Ok(along(codes, axis, length, |line, at| {
        let fields = line[at * count..].iter().take(count).enumerate();
        let byte = fields.map(|(k, q)| q.rem_euclid(1 << bits) << (bits * k as i128)).sum();
        as_dtype(byte, codes.dtype, 8)
    }))
}

/// The first `length` codes, whatever the padding is. [PACK-040]
pub fn unpack(packed: &Array, bits: i128, axis: i128, length: i128) -> Answer<Array> {
    let axis = check(packed, bits, axis)?;
    let count = codes_per_byte(bits);
    let bytes = packed.shape[axis];
    // the shape is that of existing data, so the product is small
    let fits = length >= 0
        && length <= (bytes * count) as i128
        && (length as usize).div_ceil(count) == bytes;
    if !fits {
        return refused(format!("expected a length of {bytes} bytes, got {length} [PACK-080]"));
    }
    if count == 1 {
        check_range(packed.whole("bytes")?, packed.dtype, bits)?;
        return Ok(packed.clone());
    }
    Ok(along(packed, axis, length as usize, |line, at| {
        let byte = line[at / count].rem_euclid(256);
        let field = byte >> (bits * (at % count) as i128) & ((1 << bits) - 1);
        as_dtype(field, packed.dtype, bits)
    }))
}

/// Ternary codes in a byte.
const TRITS: usize = 5;

/// An array of ternary codes or of their bytes, and the axis. [PACK-200]
fn check_ternary(array: &Array, dtype: Dtype, bounds: (i128, i128), axis: i128) -> Answer<usize> {
    if array.dtype != dtype {
        let (wanted, got) = (dtype.name(), array.dtype.name());
        return refused(format!("expected {wanted}, got {got} [PACK-200]"));
    }
    let (low, high) = bounds;
    if array.whole("codes")?.iter().any(|number| !(low..=high).contains(number)) {
        return refused(format!("expected numbers in {low} to {high} [PACK-200]"));
    }
    axis_of(array, axis, "PACK-200")
}

/// Bytes of five digits in base 3, the first code the lowest. [PACK-170]
pub fn pack_ternary(codes: &Array, axis: i128) -> Answer<Array> {
    let axis = check_ternary(codes, Dtype::Int(8), (-1, 1), axis)?;
    let length = codes.shape[axis].div_ceil(TRITS);
    let mut packed = along(codes, axis, length, |line, at| {
        let digit = |k| line.get(at * TRITS + k).map_or(1, |code| code + 1); // [PACK-180]
        (0..TRITS).map(|k| digit(k) * 3_i128.pow(k as u32)).sum()
    });
    packed.dtype = Dtype::Uint(8);
    Ok(packed)
}

/// The first `length` codes, whatever digits follow. [PACK-190]
pub fn unpack_ternary(packed: &Array, axis: i128, length: i128) -> Answer<Array> {
    let axis = check_ternary(packed, Dtype::Uint(8), (0, 242), axis)?;
    let bytes = packed.shape[axis];
    let fits = length >= 0
        && length <= (bytes * TRITS) as i128
        && (length as usize).div_ceil(TRITS) == bytes;
    if !fits {
        return refused(format!("expected a length of {bytes} bytes, got {length} [PACK-200]"));
    }
    let mut codes = along(packed, axis, length as usize, |line, at| {
        line[at / TRITS] / 3_i128.pow((at % TRITS) as u32) % 3 - 1
    });
    codes.dtype = Dtype::Int(8);
    Ok(codes)
}
