//! Section 2: rounding, and casts that cannot overflow.

use crate::arrays::{refused, Answer, Array, Dtype};

/// ROUND. [RND-010] [RND-030]
pub fn round_half_even(x: &Array) -> Answer<Array> {
    let values = x.finite("x")?.iter().map(|v| v.round_ties_even()).collect();
    Ok(Array::floats(x.dtype, &x.shape, values))
}

/// SATURATE. [RND-020] [RND-030]
pub fn saturating_cast(x: &Array, dtype: &str) -> Answer<Array> {
    let values = x.finite("x")?;
    let Some((low, high)) = Dtype::of(dtype).and_then(Dtype::bounds) else {
        return refused(format!("expected an integer dtype, got {dtype}"));
    };
    let codes = values.iter().map(|&v| clip_rint(v, low, high)).collect();
    Ok(Array::integers(Dtype::of(dtype).unwrap(), &x.shape, codes))
}

/// clip(rint(x), low, high). A cast to i128 saturates, and the bounds are well inside.
pub fn clip_rint(x: f64, low: i128, high: i128) -> i128 {
    (x.round_ties_even() as i128).clamp(low, high)
}
