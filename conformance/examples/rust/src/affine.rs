//! Section 3: scales, zero-points and codes of weights.

use crate::arrays::{f32_of, refused, Answer, Array, Dtype};
use crate::rounding::clip_rint;

pub const SMALLEST_SCALE: f64 = f32::MIN_POSITIVE as f64;

pub fn check_bits(bits: i128) -> Answer<()> {
    if (2..=8).contains(&bits) {
        return Ok(());
    }
    refused(format!("expected 2 to 8 bits, got {bits} [AFF-110]"))
}

pub fn check_group_size(group_size: i128) -> Answer<()> {
    if group_size == -1 || group_size >= 1 {
        return Ok(());
    }
    refused(format!("expected a group size from 1 on, or -1, got {group_size} [AFF-110]"))
}

/// Weights that can be quantized. [AFF-110]
pub fn check_weights(weights: &Array) -> Answer<(usize, usize)> {
    let shape = weights.matrix("weights")?;
    weights.finite("weights")?;
    if weights.len() == 0 {
        return refused("expected weights, got an empty array [AFF-110]");
    }
    Ok(shape)
}

/// The columns of a group.
pub fn columns_of_group(group_size: i128, n_in: usize) -> usize {
    if group_size == -1 || group_size > n_in as i128 {
        n_in
    } else {
        group_size as usize
    }
}

/// f32((high − low) / maxq), rounded once: the quotient is rounded to odd before.
pub fn scale_of_range(low: f64, high: f64, maxq: i128) -> f64 {
    let maxq = maxq as f64;
    let difference = high - low;
    let back = difference - high;
    let lost = (high - (difference - back)) + (-low - back);
    let quotient = difference / maxq;
    let rest = (-quotient).mul_add(maxq, difference) + lost;
    let odd = if rest == 0.0 || quotient.to_bits() & 1 == 1 || !quotient.is_finite() {
        quotient
    } else {
        // the quotient is not negative
        f64::from_bits(if rest > 0.0 { quotient.to_bits() + 1 } else { quotient.to_bits() - 1 })
    };
    f32_of(odd).max(SMALLEST_SCALE) // [AFF-050]
}

/// RANGE to ZERO-POINT for the smallest and the largest weight of a group.
pub fn parameters_of_range(
    low: f64,
    high: f64,
    bits: i128,
    symmetric: bool,
) -> Answer<(f64, i128)> {
    let maxq = (1i128 << bits) - 1;
    let (mut low, mut high) = (low.min(0.0), high.max(0.0)); // RANGE [AFF-010]
    if symmetric {
        let largest = high.max(-low); // [AFF-130]
        (low, high) = (-largest, largest);
    }
    if low == 0.0 && high == 0.0 {
        // DEGENERATE [AFF-020]
        (low, high) = (-1.0, 1.0);
    }
    let scale = scale_of_range(low, high, maxq); // SCALE [AFF-150]
    if !scale.is_finite() {
        return refused("expected weights with a scale that is a finite binary32 [AFF-110]");
    }
    // ZERO-POINT [AFF-060]
    let zero = if symmetric { 1i128 << (bits - 1) } else { clip_rint(-low / scale, 0, maxq) };
    Ok((scale, zero))
}

/// CODE. [AFF-070] [AFF-120]
pub fn code(weight: f64, scale: f64, zero: i128, maxq: i128) -> i128 {
    // w / s can be infinite, and the cast then saturates
    (clip_rint(weight / scale, -(1 << 100), 1 << 100) + zero).clamp(0, maxq)
}

/// s and z of one group of columns, one per row. `weights` has `n_in` columns.
pub fn group_parameters(
    weights: &[f64],
    n_in: usize,
    columns: std::ops::Range<usize>,
    bits: i128,
    symmetric: bool,
    per_channel: bool,
) -> Answer<Vec<(f64, i128)>> {
    let range = |row: &[f64]| {
        row[columns.clone()]
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &w| (l.min(w), h.max(w)))
    };
    let mut ranges: Vec<(f64, f64)> = weights.chunks(n_in).map(range).collect();
    if !per_channel {
        let all = ranges.iter().fold(ranges[0], |(l, h), r| (l.min(r.0), h.max(r.1)));
        ranges.fill(all);
    }
    ranges.iter().map(|&(l, h)| parameters_of_range(l, h, bits, symmetric)).collect()
}

pub fn affine_parameters(
    weights: &Array,
    bits: i128,
    symmetric: bool,
    per_channel: bool,
    group_size: i128,
) -> Answer<(Array, Array)> {
    let (n_out, n_in) = check_weights(weights)?;
    check_bits(bits)?;
    check_group_size(group_size)?;
    let values = weights.finite("weights")?;
    let width = columns_of_group(group_size, n_in);
    let n_groups = n_in.div_ceil(width); // [AFF-180]
    let (mut scale, mut zero) = (vec![0.0; n_out * n_groups], vec![0; n_out * n_groups]);
    for group in 0..n_groups {
        let columns = group * width..((group + 1) * width).min(n_in);
        let rows = group_parameters(values, n_in, columns, bits, symmetric, per_channel)?;
        for (row, (s, z)) in rows.into_iter().enumerate() {
            (scale[row * n_groups + group], zero[row * n_groups + group]) = (s, z);
        }
    }
    Ok((
        Array::floats(Dtype::Float32, &[n_out, n_groups], scale),
        Array::integers(Dtype::Uint(8), &[n_out, n_groups], zero),
    ))
}

/// Parameters of a matrix (n_out, n_in).
struct Groups<'a> {
    scales: &'a [f64],
    zeros: &'a [i128],
    of_column: Vec<usize>,
    n_in: usize,
    n_groups: usize,
}

impl Groups<'_> {
    /// Scale and zero-point of an element, by its place in C order. [AFF-100]
    fn at(&self, place: usize) -> (f64, i128) {
        let group = place / self.n_in * self.n_groups + self.of_column[place % self.n_in];
        (self.scales[group], self.zeros[group])
    }
}

/// Scales, zero-points and group indices that fit (n_out, n_in). [AFF-110]
fn check_groups<'a>(
    (n_out, n_in): (usize, usize),
    scale: &'a Array,
    zero_point: &'a Array,
    g_idx: &'a Array,
) -> Answer<Groups<'a>> {
    let scales = scale.finite("scales")?;
    if scales.iter().any(|&s| s <= 0.0) {
        return refused("expected positive scales [AFF-110]");
    }
    let zeros = zero_point.whole("zero-points")?;
    let groups = g_idx.whole("group indices")?;
    let (rows, n_groups) = scale.matrix("scales")?;
    if rows != n_out || zero_point.shape != scale.shape {
        return refused("expected scales and zero-points of shape (n_out, n_groups) [AFF-110]");
    }
    if g_idx.shape != [n_in] {
        return refused("expected group indices of shape (n_in) [AFF-110]");
    }
    if groups.iter().any(|&g| g < 0 || g >= n_groups as i128) {
        return refused("expected indices of groups that exist [AFF-110]");
    }
    let of_column = groups.iter().map(|&g| g as usize).collect();
    Ok(Groups { scales, zeros, of_column, n_in, n_groups })
}

pub fn affine_quantize(
    weights: &Array,
    scale: &Array,
    zero_point: &Array,
    g_idx: &Array,
    bits: i128,
) -> Answer<Array> {
    let (n_out, n_in) = check_weights(weights)?;
    check_bits(bits)?;
    let maxq = (1i128 << bits) - 1;
    let groups = check_groups((n_out, n_in), scale, zero_point, g_idx)?;
    if groups.zeros.iter().any(|z| !(0..=maxq).contains(z)) {
        return refused(format!("expected zero-points in 0 to {maxq} [AFF-110]"));
    }
    let values = weights.finite("weights")?;
    let codes = values.iter().enumerate().map(|(place, &w)| {
        let (s, z) = groups.at(place);
        code(w, s, z, maxq)
    });
    Ok(Array::integers(Dtype::Uint(8), &[n_out, n_in], codes.collect()))
}

pub fn affine_dequantize(
    codes: &Array,
    scale: &Array,
    zero_point: &Array,
    g_idx: &Array,
) -> Answer<Array> {
    let (n_out, n_in) = codes.matrix("codes")?;
    let q = codes.whole("codes")?;
    let groups = check_groups((n_out, n_in), scale, zero_point, g_idx)?;
    let mut values = Vec::with_capacity(q.len());
    for (place, &code) in q.iter().enumerate() {
        let (s, z) = groups.at(place);
        let value = f32_of(s * (code - z) as f64); // BACK [AFF-160]
        if !value.is_finite() {
            return refused("expected weights that are finite binary32 [AFF-110]");
        }
        values.push(value);
    }
    Ok(Array::floats(Dtype::Float32, &[n_out, n_in], values))
}
