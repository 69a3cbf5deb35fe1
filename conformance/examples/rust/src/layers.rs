//! Section 9: outputs of quantized layers.

use crate::absmax::{abs_max_quantize, normalize};
use crate::affine::{affine_dequantize, columns_of_group};
use crate::arrays::{broadcast_strides, dot, f32_of, indices, refused};
use crate::arrays::{Answer, Array, Dtype};
use crate::config::{AbsMaxQuantizer, Object, Quantizer};
use crate::equations::{steps_for, Axis, Equation, Sizes};
use crate::packing::unpack;

/// The equation of Dense, and of the reverse of an untied ReversibleEmbedding.
pub const DENSE: &str = "...x,xy->...y";
/// The equation of the reverse of a tied one.
pub const TIED: &str = "...x,yx->...y";

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Dense and EinsumDense.
    Equation,
    Embedding,
    /// A ReversibleEmbedding, with the equation of its reverse.
    Reversible,
}

/// A layer as it is stored: everything that a call needs.
pub struct Layer {
    pub kind: Kind,
    pub reverse: bool,
    pub equation: String,
    pub config: Object,
    /// Codes and scales of the kernel or embeddings; those of the reverse of an untied one.
    pub kernel: Option<(Array, Array)>,
    pub reverse_kernel: Option<(Array, Array)>,
    /// packed, scale, zero_point, g_idx, and the shape of the kernel.
    pub packed: Option<([Array; 4], Vec<usize>)>,
    pub bias: Option<Array>,
    pub relu: bool,
}

fn binary32(array: &Array, name: &str) -> Answer<Array> {
    let values: Vec<f64> = array.finite(name)?.iter().map(|&v| f32_of(v)).collect();
    if values.iter().any(|v| v.is_infinite()) {
        return refused(format!("expected {name} that are finite binary32 [LAY-150]"));
    }
    Ok(Array::floats(Dtype::Float32, &array.shape, values))
}

fn abs_max_only(quantizer: &Option<Quantizer>) -> Answer<Option<&AbsMaxQuantizer>> {
    match quantizer {
        None => Ok(None),
        Some(Quantizer::AbsMax(quantizer)) => Ok(Some(quantizer)),
        Some(_) => refused("expected an AbsMaxQuantizer [LAY-150]"),
    }
}

/// The quantizers of weights and activations of a config of a layer of float weights.
fn quantizers(config: &Object) -> Answer<(Option<&AbsMaxQuantizer>, Option<&AbsMaxQuantizer>)> {
    match config {
        Object::Int8 { weight, activation } => {
            Ok((abs_max_only(weight)?, abs_max_only(activation)?))
        }
        _ => refused("expected an Int8QuantizationConfig [LAY-150]"),
    }
}

/// WEIGHTS: codes and scales, the scales without the contracted axes. [LAY-010] [LAY-160]
pub fn quantize_kernel(
    kernel: &Array,
    axes: &[usize],
    config: &Object,
    name: &str,
) -> Answer<(Array, Array)> {
    let (weight, _) = quantizers(config)?;
    let default = AbsMaxQuantizer::default_with(None);
    let quantizer = weight.unwrap_or(&default);
    if let Some(stored) = &quantizer.axis {
        if normalize(stored, kernel.rank())? != axes {
            return refused("expected a weight quantizer with the contracted axes [LAY-170]");
        }
    }
    let over = Some(axes.iter().map(|&axis| axis as i128).collect());
    let (codes, scale) = abs_max_quantize(&binary32(kernel, name)?, &over, quantizer)?;
    let kept = (0..kernel.rank()).filter(|axis| !axes.contains(axis));
    let shape: Vec<usize> = kept.map(|axis| kernel.shape[axis]).collect();
    let scale = Array { shape, ..scale };
    Ok((codes, scale))
}

pub fn check_bias(bias: Option<&Array>) -> Answer<Option<Array>> {
    bias.map(|bias| binary32(bias, "biases")).transpose()
}

impl Layer {
    /// The outputs. [LAY-150]
    pub fn call(&self, x: &Array) -> Answer<Array> {
        if self.kind == Kind::Embedding || (self.kind == Kind::Reversible && !self.reverse) {
            return self.look_up(x);
        }
        x.finite("x")?;
        let equation = Equation::parse(&self.equation)?;
        let kernel_shape = match &self.packed {
            Some((_, shape)) => shape.clone(),
            None => self.stored().0.shape.clone(),
        };
        let sizes = equation.bind(&x.shape, &kernel_shape)?;
        let out_axes = equation.axes(&equation.out, sizes.further.len());
        let out_shape = sizes.of(&out_axes);
        let bias_steps = match &self.bias {
            None => None,
            Some(bias) => match broadcast_strides(&bias.shape, &out_shape) {
                Some(steps) => Some(steps),
                None => return refused("expected a bias that broadcasts to the outputs [LAY-150]"),
            },
        };
        let v = match &self.packed {
            Some((arrays, shape)) => {
                let kernel = self.unpacked(&equation, arrays, shape)?;
                self.products(&equation, &sizes, x.finite("x")?, &x.shape, &kernel, shape)
            }
            None => self.int8_values(&equation, &sizes, x)?,
        };
        let values = indices(&out_shape).zip(v).map(|(index, v)| {
            let bias = match (&self.bias, &bias_steps) {
                (Some(bias), Some(steps)) => bias.finite("biases").unwrap()[dot(&index, steps)],
                _ => 0.0,
            };
            // FINISH [LAY-050]
            let sum = v + bias;
            f32_of(if self.relu { sum.max(0.0) } else { sum })
        });
        Ok(Array::floats(Dtype::Float32, &out_shape, values.collect()))
    }

    /// Codes and scales of the kernel of the equation. [LAY-070] [LAY-080]
    fn stored(&self) -> &(Array, Array) {
        self.reverse_kernel.as_ref().or(self.kernel.as_ref()).unwrap()
    }

    /// EMBEDDING. [LAY-060]
    fn look_up(&self, tokens: &Array) -> Answer<Array> {
        let (codes, scale) = self.kernel.as_ref().unwrap();
        let (rows, width) = codes.matrix("embeddings")?;
        let q = codes.whole("embeddings")?;
        let scales = scale.finite("scales")?;
        let mut values = vec![];
        for &token in tokens.whole("tokens")? {
            if token < 0 || token >= rows as i128 {
                return refused(format!("expected tokens below {rows}, got {token} [LAY-150]"));
            }
            let row = token as usize;
            let line = &q[row * width..(row + 1) * width];
            values.extend(line.iter().map(|&code| f32_of(code as f64 / scales[row])));
        }
        let mut shape = tokens.shape.clone();
        shape.push(width);
        Ok(Array::floats(Dtype::Float32, &shape, values))
    }

    /// The sums over the contracted letters, in C order of the outputs.
    fn products<T: Copy + std::iter::Sum<T> + std::ops::Mul<Output = T>>(
        &self,
        equation: &Equation,
        sizes: &Sizes,
        x: &[T],
        x_shape: &[usize],
        kernel: &[T],
        kernel_shape: &[usize],
    ) -> Vec<T> {
        let further = sizes.further.len();
        let x_axes = equation.axes(&equation.x, further);
        let kernel_axes: Vec<Axis> = equation.kernel.iter().map(|&c| Axis::Letter(c)).collect();
        let out_axes = equation.axes(&equation.out, further);
        let contracted: Vec<Axis> =
            equation.kernel_axes().into_iter().map(|i| kernel_axes[i]).collect();
        let (x_out, k_out) = (
            steps_for(&out_axes, &x_axes, x_shape),
            steps_for(&out_axes, &kernel_axes, kernel_shape),
        );
        let x_sum = steps_for(&contracted, &x_axes, x_shape);
        let k_sum = steps_for(&contracted, &kernel_axes, kernel_shape);
        let sum_shape = sizes.of(&contracted);
        let offsets: Vec<(usize, usize)> =
            indices(&sum_shape).map(|index| (dot(&index, &x_sum), dot(&index, &k_sum))).collect();
        indices(&sizes.of(&out_axes))
            .map(|index| {
                let (a, b) = (dot(&index, &x_out), dot(&index, &k_out));
                offsets.iter().map(|(i, j)| x[a + i] * kernel[b + j]).sum()
            })
            .collect()
    }

    /// INT8 and WEIGHT-ONLY. [LAY-030] [LAY-040]
    fn int8_values(&self, equation: &Equation, sizes: &Sizes, x: &Array) -> Answer<Vec<f64>> {
        let (kernel, kernel_scale) = self.stored();
        let further = sizes.further.len();
        let out_axes = equation.axes(&equation.out, further);
        let kernel_axes = equation.kernel.iter().map(|&c| Axis::Letter(c));
        let kernel_kept: Vec<Axis> = kernel_axes.filter(|a| out_axes.contains(a)).collect();
        let k_steps = steps_for(&out_axes, &kernel_kept, &kernel_scale.shape);
        let s_k = kernel_scale.finite("scales")?;
        let codes = kernel.whole("kernel")?;
        let out_shape = sizes.of(&out_axes);
        let Some(quantizer) = quantizers(&self.config)?.1 else {
            let floats: Vec<f64> = codes.iter().map(|&q| q as f64).collect();
            let sums =
                self.products(equation, sizes, x.finite("x")?, &x.shape, &floats, &kernel.shape);
            return Ok(indices(&out_shape)
                .zip(sums)
                .map(|(index, sum)| sum / s_k[dot(&index, &k_steps)])
                .collect());
        };
        let x_axes = equation.axes(&equation.x, further);
        let over: Vec<i128> = (0..x_axes.len())
            .filter(|&i| !out_axes.contains(&x_axes[i]))
            .map(|i| i as i128)
            .collect();
        let (q, s_q) = abs_max_quantize(x, &Some(over), quantizer)?;
        // axes of length 1 are contracted, and the outputs do not have them
        let x_steps = steps_for(&out_axes, &x_axes, &s_q.shape);
        let s_q = s_q.finite("scales")?;
        let sums =
            self.products(equation, sizes, q.whole("codes")?, &x.shape, codes, &kernel.shape);
        Ok(indices(&out_shape)
            .zip(sums)
            .map(|(index, sum)| {
                sum as f64 / (s_q[dot(&index, &x_steps)] * s_k[dot(&index, &k_steps)])
            })
            .collect())
    }

    /// GPTQ: the packed kernel, dequantized, in its own shape.
    /// [LAY-090] [LAY-180] [LAY-190] [LAY-110] [LAY-120]
    fn unpacked(
        &self,
        equation: &Equation,
        arrays: &[Array; 4],
        shape: &[usize],
    ) -> Answer<Vec<f64>> {
        let Object::Gptq(config) = &self.config else {
            return refused("expected a GPTQConfig [LAY-150]");
        };
        let [packed, scale, zero_point, g_idx] = arrays;
        if packed.dtype != Dtype::Uint(8) {
            return refused("expected a packed kernel of uint8 [LAY-150]");
        }
        let contracted = equation.kernel_axes();
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !contracted.contains(axis)).collect();
        let size = |axes: &[usize]| axes.iter().map(|&a| shape[a] as i128).product::<i128>();
        let (n_in, n_out) = (size(&contracted), size(&kept));
        let (_, columns) = packed.matrix("the packed kernel")?;
        if columns as i128 != n_in {
            return refused(format!(
                "expected a packed kernel of {n_in} columns, got {columns} [LAY-150]"
            ));
        }
        let n_groups = columns.div_ceil(columns_of_group(config.group_size, columns).max(1));
        if scale.matrix("scales")?.1 != n_groups {
            return refused(format!("expected scales of {n_groups} groups [LAY-150]"));
        }
        let codes = unpack(packed, config.weight_bits, 0, n_out)?;
        let matrix = affine_dequantize(&codes, scale, zero_point, g_idx)?;
        let values = matrix.finite("weights")?;
        let part = |axes: &[usize], index: &[usize]| {
            axes.iter().fold(0, |flat, &axis| flat * shape[axis] + index[axis])
        };
        let n_in = columns;
        Ok(indices(shape)
            .map(|index| values[part(&kept, &index) * n_in + part(&contracted, &index)])
            .collect())
    }
}
