//! Section 13: kernels in groups of rows, each with a scale and a zero-point.

use crate::arrays::{f32_of, refused, Answer, Array, Dtype};
use crate::rounding::clip_rint;

const SMALLEST_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// The value range, of int8 and of the output dtype. [FOUR-120]
fn check_range((low, high): (i128, i128), name: &str) -> Answer<Dtype> {
    let dtype = Dtype::of(name).filter(|d| matches!(d, Dtype::Int(b) | Dtype::Uint(b) if *b <= 32));
    let Some((dtype, (least, most))) = dtype.and_then(|d| Some((d, d.bounds()?))) else {
        return refused(format!("expected an integer dtype of at most 32 bits, got {name}"));
    };
    if least.max(-128) <= low && low < high && high <= most.min(127) {
        return Ok(dtype);
    }
    refused(format!("expected lo < hi of int8 and {name}, got ({low}, {high}) [FOUR-120]"))
}

/// Codes, scales and zero-points of a kernel (n_in, n_out).
pub fn grouped_quantize(
    weights: &Array,
    block_size: i128,
    range: (i128, i128),
    dtype: &str,
    epsilon: f64,
) -> Answer<(Array, Array, Array)> {
    let (n_in, n_out) = weights.matrix("weights")?;
    let w = weights.finite("weights")?;
    let dtype = check_range(range, dtype)?;
    let (low, high) = range;
    let steps = (high - low) as f64;
    let share = f32_of(epsilon / steps);
    if w.is_empty() || block_size < 1 {
        return refused(format!("expected weights in blocks, got {block_size} [FOUR-120]"));
    }
    if !(share >= SMALLEST_NORMAL && share.is_finite()) {
        return refused(format!("expected an epsilon of a normal scale, got {epsilon} [FOUR-120]"));
    }
    let size = block_size.min(n_in as i128) as usize;
    let n_groups = n_in.div_ceil(size); // [FOUR-010]
    let (mut scales, mut zeros) = (vec![0.0; n_groups * n_out], vec![0; n_groups * n_out]);
    for (place, (scale, zero)) in scales.iter_mut().zip(&mut zeros).enumerate() {
        let (group, column) = (place / n_out, place % n_out);
        let rows = group * size..((group + 1) * size).min(n_in);
        let (least, most) = rows
            .map(|row| w[row * n_out + column])
            .fold((0.0f64, 0.0f64), |(l, m), v| (l.min(v), m.max(v))); // [FOUR-020]
        *scale = f32_of((most - least + epsilon) / steps); // [FOUR-030] [FOUR-070]
        if !scale.is_finite() {
            return refused("expected weights with a scale that is a finite binary32 [FOUR-120]");
        }
        *zero = (clip_rint(-least / *scale, 0, high - low) + low).clamp(low, high);
        // [FOUR-040]
    }
    let code = |(place, value): (usize, &f64)| {
        let at = place / n_out / size * n_out + place % n_out;
        let whole = clip_rint(value / scales[at], -(1 << 100), 1 << 100);
        (whole + zeros[at]).clamp(low, high) // [FOUR-050] [FOUR-060]
    };
    let codes = w.iter().enumerate().map(code).collect();
    Ok((
        Array::integers(dtype, &[n_in, n_out], codes),
        Array::floats(Dtype::Float32, &[n_groups, n_out], scales), // [FOUR-100]
        Array::integers(Dtype::Int(8), &[n_groups, n_out], zeros),
    ))
}

/// ŵ = s·(q − z) of the group of each row. [FOUR-080]
pub fn grouped_dequantize(
    codes: &Array,
    scale: &Array,
    zero_point: &Array,
    g_idx: &Array,
) -> Answer<Array> {
    let (n_in, n_out) = codes.matrix("codes")?;
    let q = codes.whole("codes")?;
    let (n_groups, columns) = scale.matrix("scales")?;
    let scales = scale.finite("scales")?;
    let (zeros, groups) = (zero_point.whole("zero-points")?, g_idx.whole("group indices")?);
    if columns != n_out || zero_point.shape != scale.shape || g_idx.shape != [n_in] {
        return refused("expected scales (n_groups, n_out) and a group for each row [FOUR-120]");
    }
    if scales.iter().any(|&s| s <= 0.0) {
        return refused("expected positive scales [FOUR-120]");
    }
    if groups.iter().any(|&g| g < 0 || g >= n_groups as i128) {
        return refused("expected indices of groups that exist [FOUR-120]");
    }
    let mut values = Vec::with_capacity(q.len());
    for (place, &code) in q.iter().enumerate() {
        let at = groups[place / n_out] as usize * n_out + place % n_out; // [FOUR-090]
        let value = f32_of(scales[at] * (code - zeros[at]) as f64);
        if !value.is_finite() {
            return refused("expected weights that are finite binary32 [FOUR-120]");
        }
        values.push(value);
    }
    Ok(Array::floats(Dtype::Float32, &[n_in, n_out], values))
}
