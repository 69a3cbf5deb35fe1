//! Section 6: the Hessian, and what section 7 makes of it.

use crate::arrays::{refused, Answer, Array, Dtype};

/// (2 / N) Σ x xᵀ of tokens of width n, which the caller has checked.
pub fn sum_of_tokens<'a>(tokens: impl Iterator<Item = &'a [f64]>, n: usize) -> Vec<f64> {
    let mut sum = vec![0.0; n * n];
    let mut count = 0usize;
    for token in tokens {
        count += 1;
        for (i, &a) in token.iter().enumerate() {
            let row = &mut sum[i * n..(i + 1) * n];
            for (cell, &b) in row[i..].iter_mut().zip(&token[i..]) {
                *cell += a * b;
            }
        }
    }
    let factor = 2.0 / count as f64;
    for i in 0..n {
        for j in i..n {
            let value = sum[i * n + j] * factor;
            (sum[i * n + j], sum[j * n + i]) = (value, value); // [HES-100]
        }
    }
    sum
}

/// SUM. [HES-010] [HES-110] [HES-030] [HES-090]
pub fn hessian(batches: &[Array]) -> Answer<Array> {
    let mut width = None;
    for batch in batches {
        batch.finite("batches")?;
        let Some(&n) = batch.shape.last() else {
            return refused("expected batches of rank 1 or more [HES-090]");
        };
        if batch.len() == 0 {
            return refused("expected batches with tokens, got an empty one [HES-090]");
        }
        if *width.get_or_insert(n) != n {
            return refused("expected batches of one width [HES-090]");
        }
    }
    let Some(n) = width else {
        return refused("expected at least one batch [HES-090]");
    };
    let tokens = batches.iter().flat_map(|batch| batch.finite("batches").unwrap().chunks(n));
    Ok(Array::floats(Dtype::Float64, &[n, n], sum_of_tokens(tokens, n)))
}

/// SYMMETRY, after the checks. [HES-090]
pub fn symmetric(hessian: &Array) -> Answer<(Vec<f64>, usize)> {
    let (n, columns) = hessian.matrix("the Hessian")?;
    let h = hessian.finite("the Hessian")?;
    if n != columns || n == 0 {
        return refused("expected a square Hessian that is not empty [HES-090]");
    }
    for j in 0..n {
        let diagonal = h[j * n + j];
        if diagonal < 0.0 {
            return refused("expected a diagonal that is not negative [HES-090]");
        }
        if diagonal == 0.0 && (0..n).any(|k| h[j * n + k] != 0.0 || h[k * n + j] != 0.0) {
            return refused("expected a dead column to be zero [HES-090]");
        }
    }
    let mut result = h.to_vec();
    for i in 0..n {
        for j in 0..i {
            let (a, b) = (h[i * n + j], h[j * n + i]);
            let (p, q) = (h[i * n + i], h[j * n + j]);
            let product = p * q;
            let root = if product.is_normal() { product.sqrt() } else { p.sqrt() * q.sqrt() };
            if (a - b).abs() > root / 65536.0 {
                return refused("expected a symmetric Hessian [HES-090]");
            }
            let mean = if (a + b).is_finite() { (a + b) / 2.0 } else { a / 2.0 + b / 2.0 };
            (result[i * n + j], result[j * n + i]) = (mean, mean);
        }
    }
    Ok((result, n))
}

pub fn check_damping(damping: f64) -> Answer<()> {
    if (0.0..=1.0).contains(&damping) {
        return Ok(());
    }
    refused(format!("expected damping in 0 to 1, got {damping} [HES-090]"))
}

pub struct Prepared {
    pub n: usize,
    /// In the original order.
    pub damped: Vec<f64>,
    pub dead: Vec<bool>,
    pub order: Vec<usize>,
}

/// SYMMETRY to DAMPING.
pub fn prepare(hessian: &Array, damping: f64, activation_order: bool) -> Answer<Prepared> {
    check_damping(damping)?;
    let (mut h, n) = symmetric(hessian)?;
    let dead: Vec<bool> = (0..n).map(|j| h[j * n + j] == 0.0).collect();
    for j in (0..n).filter(|&j| dead[j]) {
        h[j * n + j] = 1.0; // DEAD [HES-040]
    }
    let diagonal: Vec<f64> = (0..n).map(|j| h[j * n + j]).collect();
    let mut order: Vec<usize> = (0..n).collect();
    if activation_order {
        // ORDER [HES-060]: a stable sort
        order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
    }
    let added = damping * (diagonal.iter().sum::<f64>() / n as f64);
    for j in 0..n {
        h[j * n + j] += added; // DAMPING [HES-050]
    }
    Ok(Prepared { n, damped: h, dead, order })
}

/// PERMUTE.
pub fn permute(h: &[f64], order: &[usize]) -> Vec<f64> {
    let n = order.len();
    order.iter().flat_map(|&i| order.iter().map(move |&j| h[i * n + j])).collect()
}

/// FACTOR: R upper triangular with a positive diagonal, H = R Rᵀ. [HES-070]
pub fn factorize(h: &[f64], n: usize) -> Answer<Vec<f64>> {
    let mut r = vec![0.0; n * n];
    for j in (0..n).rev() {
        let tail = j + 1;
        let squares: f64 = (tail..n).map(|k| r[j * n + k] * r[j * n + k]).sum();
        let pivot = h[j * n + j] - squares;
        if pivot.is_nan() || pivot <= 0.0 {
            return refused(format!(
                "expected a Hessian with a factor, got pivot {pivot} at column {j}; \
                 more damping may help [HES-080]"
            ));
        }
        let root = pivot.sqrt();
        r[j * n + j] = root;
        for i in 0..j {
            let products: f64 = (tail..n).map(|k| r[i * n + k] * r[j * n + k]).sum();
            r[i * n + j] = (h[i * n + j] - products) / root;
        }
    }
    Ok(r)
}

/// SYMMETRY and FACTOR.
pub fn factor(hessian: &Array) -> Answer<Array> {
    let (h, n) = symmetric(hessian)?;
    Ok(Array::floats(Dtype::Float64, &[n, n], factorize(&h, n)?))
}

/// U = R⁻¹, upper triangular.
pub fn inverse(r: &[f64], n: usize) -> Vec<f64> {
    let mut u = vec![0.0; n * n];
    for j in 0..n {
        u[j * n + j] = 1.0 / r[j * n + j];
        for i in (0..j).rev() {
            let products: f64 = (i + 1..=j).map(|k| r[i * n + k] * u[k * n + j]).sum();
            u[i * n + j] = -products / r[i * n + i];
        }
    }
    u
}
