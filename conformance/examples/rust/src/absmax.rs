//! Section 4: AbsMax.

use crate::arrays::{broadcast_strides, dot, f32_of, indices, refused};
use crate::arrays::{Answer, Array, Dtype};
use crate::config::AbsMaxQuantizer;
use crate::rounding::clip_rint;

/// One, several, or all axes (None).
pub type Axes = Option<Vec<i128>>;

/// Axes counted from the start, in ascending order.
pub fn normalize(axes: &[i128], rank: usize) -> Answer<Vec<usize>> {
    let mut counted = vec![];
    for &axis in axes {
        let from_start = if axis < 0 { axis.saturating_add(rank as i128) } else { axis };
        if from_start < 0 || from_start >= rank as i128 {
            return refused(format!("expected axes of rank {rank}, got {axis} [ABS-100]"));
        }
        counted.push(from_start as usize);
    }
    counted.sort();
    if counted.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("expected each axis once [ABS-100]");
    }
    Ok(counted)
}

/// SCALE. [ABS-010] [ABS-060]
fn scale_of(largest: f64, high: i128, epsilon: f64, float64: bool) -> Answer<f64> {
    let (high, sum) = (high as f64, largest + epsilon);
    // the sum may be beyond binary64 although the scale is not below its smallest number
    let quotient =
        if sum.is_finite() { high / sum } else { (high / 2.0) / (largest / 2.0 + epsilon / 2.0) };
    let (scale, smallest) = if float64 {
        (quotient, f64::MIN_POSITIVE)
    } else {
        (f32_of(quotient), f32::MIN_POSITIVE as f64)
    };
    if scale < smallest {
        return refused("expected values with a scale that is a normal number [ABS-100]");
    }
    Ok(scale)
}

/// Codes, and scales with length 1 on the axes over which the maximum was taken.
pub fn abs_max_quantize(
    x: &Array,
    axes: &Axes,
    settings: &AbsMaxQuantizer,
) -> Answer<(Array, Array)> {
    let values = x.finite("x")?;
    if values.is_empty() {
        return refused("expected values, got an empty array [ABS-100]");
    }
    let axes = match axes {
        Some(axes) => normalize(axes, x.rank())?,
        None => (0..x.rank()).collect(), // [ABS-050]
    };
    let mut reduced = x.shape.clone();
    for &axis in &axes {
        reduced[axis] = 1;
    }
    let steps = broadcast_strides(&reduced, &x.shape).unwrap();
    let slices: Vec<usize> = indices(&x.shape).map(|index| dot(&index, &steps)).collect();
    let mut largest = vec![0f64; reduced.iter().product()];
    for (&slice, value) in slices.iter().zip(values) {
        largest[slice] = largest[slice].max(value.abs());
    }
    let (low, high) = settings.value_range; // [ABS-070]
    let float64 = x.dtype == Dtype::Float64;
    let scales: Vec<f64> = largest
        .iter()
        .map(|&m| scale_of(m, high, settings.epsilon, float64))
        .collect::<Answer<_>>()?;
    // CODE [ABS-030] [ABS-040] [ABS-090]
    let codes =
        slices.iter().zip(values).map(|(&slice, v)| clip_rint(v * scales[slice], low, high));
    let codes =
        Array::integers(Dtype::of(&settings.output_dtype).unwrap(), &x.shape, codes.collect());
    let dtype = if float64 { Dtype::Float64 } else { Dtype::Float32 }; // [ABS-130]
    Ok((codes, Array::floats(dtype, &reduced, scales)))
}

/// The axis of the call comes before the stored one; −1 is the last resort. [CFG-150]
pub fn call_quantizer(
    x: &Array,
    quantizer: &AbsMaxQuantizer,
    call: &Axes,
) -> Answer<(Array, Array)> {
    let axes = call.clone().or_else(|| quantizer.axis.clone()).unwrap_or_else(|| vec![-1]);
    abs_max_quantize(x, &Some(axes), quantizer)
}

/// x̂ = q / s. [ABS-080] [ABS-110]
pub fn abs_max_dequantize(codes: &Array, scale: &Array) -> Answer<Array> {
    let q = codes.whole("codes")?;
    if !matches!(scale.dtype, Dtype::Float32 | Dtype::Float64) {
        return refused("expected a scale of float32 or float64 [ABS-110]");
    }
    let scales = scale.finite("the scale")?;
    if scales.iter().any(|&s| s <= 0.0) {
        return refused("expected a positive scale [ABS-110]");
    }
    let Some(steps) = broadcast_strides(&scale.shape, &codes.shape) else {
        return refused("expected a scale that broadcasts to the codes [ABS-110]");
    };
    // BACK
    let values = indices(&codes.shape)
        .zip(q)
        .map(|(index, &code)| scale.dtype.round(code as f64 / scales[dot(&index, &steps)]));
    Ok(Array::floats(scale.dtype, &codes.shape, values.collect()))
}
