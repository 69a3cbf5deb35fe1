//! Section 7: GPTQ.

use crate::affine::{check_group_size, check_weights, code, columns_of_group, group_parameters};
use crate::arrays::{refused, Answer, Array, Dtype};
use crate::hessian::{factorize, inverse, permute, prepare};

/// Columns of a column block, unless a question says otherwise.
pub const BLOCK_SIZE: i128 = 128;

#[derive(Clone)]
pub struct Settings {
    pub bits: i128,
    pub symmetric: bool,
    pub per_channel: bool,
    pub group_size: i128,
    pub activation_order: bool,
    pub damping: f64,
    pub block_size: i128,
}

/// [GPTQ-110] [GPTQ-130]
pub fn check_settings(settings: &Settings) -> Answer<()> {
    if ![2, 3, 4, 8].contains(&settings.bits) {
        return refused(format!("expected 2, 3, 4 or 8 bits, got {} [GPTQ-110]", settings.bits));
    }
    check_group_size(settings.group_size)?;
    crate::hessian::check_damping(settings.damping)?;
    if settings.block_size < 1 {
        return refused(format!(
            "expected a block size from 1 on, got {} [GPTQ-130]",
            settings.block_size
        ));
    }
    Ok(())
}

pub struct Quantized {
    pub n_out: usize,
    pub n_in: usize,
    pub n_groups: usize,
    pub codes: Vec<i128>,
    pub scale: Vec<f64>,
    pub zero_point: Vec<i128>,
    pub g_idx: Vec<usize>,
}

impl Quantized {
    /// codes, scale, zero_point, g_idx.
    pub fn arrays(&self) -> [Array; 4] {
        let groups = [self.n_out, self.n_groups];
        [
            Array::integers(Dtype::Uint(8), &[self.n_out, self.n_in], self.codes.clone()),
            Array::floats(Dtype::Float32, &groups, self.scale.clone()),
            Array::integers(Dtype::Uint(8), &groups, self.zero_point.clone()),
            Array::integers(
                Dtype::Int(32),
                &[self.n_in],
                self.g_idx.iter().map(|&g| g as i128).collect(),
            ),
        ]
    }

    /// ŵ = s · (q − z), exact in binary64.
    pub fn dequantized(&self) -> Vec<f64> {
        let value = |at: usize| {
            let group = at / self.n_in * self.n_groups + self.g_idx[at % self.n_in];
            self.scale[group] * (self.codes[at] - self.zero_point[group]) as f64
        };
        (0..self.codes.len()).map(value).collect()
    }
}

pub fn gptq_quantize(weights: &Array, hessian: &Array, settings: &Settings) -> Answer<Quantized> {
    check_settings(settings)?;
    let (n_out, n_in) = check_weights(weights)?;
    let prepared = prepare(hessian, settings.damping, settings.activation_order)?;
    if prepared.n != n_in {
        return refused(format!(
            "expected a Hessian of {n_in} columns, got {} [GPTQ-110]",
            prepared.n
        ));
    }
    // PREPARE
    let order = &prepared.order; // [GPTQ-020]
    let u = inverse(&factorize(&permute(&prepared.damped, order), n_in)?, n_in); // [GPTQ-120]

    let values = weights.finite("weights")?;
    let mut live: Vec<f64> = (0..n_out)
        .flat_map(|row| order.iter().map(move |&j| (row, j)))
        // [GPTQ-010] [GPTQ-100]
        .map(|(row, j)| if prepared.dead[j] { 0.0 } else { values[row * n_in + j] })
        .collect();

    let maxq = (1i128 << settings.bits) - 1;
    let width = columns_of_group(settings.group_size, n_in);
    let n_groups = n_in.div_ceil(width); // [GPTQ-050]
    let block = settings.block_size.min(n_in as i128) as usize;
    let mut base = vec![];
    let mut result = Quantized {
        n_out,
        n_in,
        n_groups,
        codes: vec![0; n_out * n_in],
        scale: vec![0.0; n_out * n_groups],
        zero_point: vec![0; n_out * n_groups],
        g_idx: vec![0; n_in],
    };
    let mut parameters = vec![];
    for j in 0..n_in {
        // BLOCK
        if j % block == 0 {
            base = live.clone();
        }
        // GROUP [GPTQ-030] [GPTQ-040]
        let group = j / width;
        if j % width == 0 {
            let columns = j..(j + width).min(n_in);
            parameters = group_parameters(
                &base,
                n_in,
                columns,
                settings.bits,
                settings.symmetric,
                settings.per_channel,
            )?;
            for (row, &(s, z)) in parameters.iter().enumerate() {
                result.scale[row * n_groups + group] = s;
                result.zero_point[row * n_groups + group] = z;
            }
        }
        result.g_idx[order[j]] = group; // [GPTQ-090]
        let feedback = &u[j * n_in..(j + 1) * n_in];
        for row in 0..n_out {
            let (s, z) = parameters[row];
            let line = &mut live[row * n_in..(row + 1) * n_in];
            // CODE [GPTQ-070] [GPTQ-080]
            let q = code(line[j], s, z, maxq);
            result.codes[row * n_in + order[j]] = q;
            // ERROR
            let error = (line[j] - s * (q - z) as f64) / feedback[j];
            // FEEDBACK [GPTQ-060]
            for (weight, f) in line[j + 1..].iter_mut().zip(&feedback[j + 1..]) {
                *weight -= error * f;
            }
        }
    }
    Ok(result)
}
