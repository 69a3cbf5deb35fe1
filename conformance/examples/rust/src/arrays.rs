//! Arrays (SPEC.md, section 11), and the floats that they hold (section 0).

use crate::json::Json;

/// Why there are no outputs.
#[derive(Debug)]
pub enum Failure {
    Refused(String),
    Unsupported(String),
    Broken(String),
}

pub type Answer<T> = Result<T, Failure>;

pub fn refused<T>(message: impl Into<String>) -> Answer<T> {
    Err(Failure::Refused(message.into()))
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dtype {
    Float16,
    Bfloat16,
    Float32,
    Float64,
    Int(u32),
    Uint(u32),
}

impl Dtype {
    pub fn of(name: &str) -> Option<Dtype> {
        Some(match name {
            "float16" => Dtype::Float16,
            "bfloat16" => Dtype::Bfloat16,
            "float32" => Dtype::Float32,
            "float64" => Dtype::Float64,
            "int8" => Dtype::Int(8),
            "int16" => Dtype::Int(16),
            "int32" => Dtype::Int(32),
            "int64" => Dtype::Int(64),
            "uint8" => Dtype::Uint(8),
            "uint16" => Dtype::Uint(16),
            "uint32" => Dtype::Uint(32),
            "uint64" => Dtype::Uint(64),
            _ => return None,
        })
    }

    pub fn name(self) -> String {
        match self {
            Dtype::Float16 => "float16".into(),
            Dtype::Bfloat16 => "bfloat16".into(),
            Dtype::Float32 => "float32".into(),
            Dtype::Float64 => "float64".into(),
            Dtype::Int(bits) => format!("int{bits}"),
            Dtype::Uint(bits) => format!("uint{bits}"),
        }
    }

    /// The smallest and the largest integer of an integer dtype.
    pub fn bounds(self) -> Option<(i128, i128)> {
        match self {
            Dtype::Int(bits) => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            Dtype::Uint(bits) => Some((0, (1 << bits) - 1)),
            _ => None,
        }
    }

    /// x rounded to a float dtype: to nearest, ties to even, with gradual underflow.
    pub fn round(self, x: f64) -> f64 {
        match self {
            Dtype::Float16 => round_to(x, 11, -14, 65504.0),
            Dtype::Bfloat16 => round_to(x, 8, -126, 255.0 * 2f64.powi(120)),
            Dtype::Float32 => f32_of(x),
            _ => x,
        }
    }
}

/// f32 of section 0, as binary64.
pub fn f32_of(x: f64) -> f64 {
    x as f32 as f64
}

fn round_to(x: f64, digits: i32, smallest_exponent: i32, largest: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = (((x.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(smallest_exponent);
    let step = 2f64.powi(exponent - digits + 1);
    let rounded = (x / step).round_ties_even() * step;
    if rounded.abs() > largest {
        f64::INFINITY.copysign(x)
    } else {
        rounded
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Data,
}

impl Array {
    pub fn floats(dtype: Dtype, shape: &[usize], data: Vec<f64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Array { dtype, shape: shape.to_vec(), data: Data::Floats(data) }
    }

    pub fn integers(dtype: Dtype, shape: &[usize], data: Vec<i128>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Array { dtype, shape: shape.to_vec(), data: Data::Integers(data) }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The elements, refused where they are no floats or not finite.
    pub fn finite(&self, name: &str) -> Answer<&[f64]> {
        match &self.data {
            Data::Floats(values) if values.iter().all(|v| v.is_finite()) => Ok(values),
            Data::Floats(_) => refused(format!("expected finite {name}, got NaN or infinity")),
            _ => refused(format!("expected {name} of a float dtype, got {}", self.dtype.name())),
        }
    }

    pub fn whole(&self, name: &str) -> Answer<&[i128]> {
        match &self.data {
            Data::Integers(values) => Ok(values),
            _ => refused(format!("expected {name} of an integer dtype, got {}", self.dtype.name())),
        }
    }

    pub fn matrix(&self, name: &str) -> Answer<(usize, usize)> {
        match self.shape[..] {
            [rows, columns] => Ok((rows, columns)),
            _ => refused(format!("expected {name} of rank 2, got {}", self.rank())),
        }
    }

    /// An array as JSON says it; Err where it breaks the rules. [VEC-020]
    pub fn read(json: &Json) -> Result<Array, String> {
        if !json.is_object() {
            return Err("expected an array".into());
        }
        if let Some(name) = json.names().iter().find(|n| !["dtype", "shape", "data"].contains(n)) {
            return Err(format!("expected dtype, shape and data, got {name}"));
        }
        let part = |name: &str| json.get(name).ok_or(format!("expected an array with {name}"));
        let dtype = part("dtype")?.as_text().ok_or("expected the name of a dtype")?;
        let dtype = Dtype::of(&dtype).ok_or(format!("expected a dtype, got {dtype}"))?;
        let mut shape = vec![];
        for size in part("shape")?.as_list().ok_or("expected a list of sizes")? {
            let size = size.as_int().and_then(|s| usize::try_from(s).ok());
            shape.push(size.ok_or("expected sizes from 0 on")?);
        }
        let items = part("data")?.as_list().ok_or("expected a list of data")?;
        let empty = shape.contains(&0);
        let count = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if (if empty { Some(0) } else { count }) != Some(items.len()) {
            return Err(format!("expected as many data as the shape has, got {}", items.len()));
        }
        let data = if let Some((low, high)) = dtype.bounds() {
            let integer = |item: &Json| item.as_int().filter(|v| (low..=high).contains(v));
            let values: Option<Vec<i128>> = items.iter().map(integer).collect();
            Data::Integers(values.ok_or(format!("expected integers of {}", dtype.name()))?)
        } else {
            let values: Option<Vec<f64>> =
                items.iter().map(|item| read_float(item, dtype)).collect();
            Data::Floats(values.ok_or(format!("expected numbers of {}", dtype.name()))?)
        };
        Ok(Array { dtype, shape, data })
    }

    pub fn write(&self) -> Json {
        let data = match &self.data {
            Data::Floats(values) => values.iter().map(|&v| Json::float(v)).collect(),
            Data::Integers(values) => values.iter().map(|&v| Json::int(v)).collect(),
        };
        Json::object(vec![
            ("dtype", Json::text(&self.dtype.name())),
            ("shape", Json::List(self.shape.iter().map(|&size| Json::int(size as i128)).collect())),
            ("data", Json::List(data)),
        ])
    }
}

fn read_float(item: &Json, dtype: Dtype) -> Option<f64> {
    if let Some(name) = item.as_text() {
        return match name.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        };
    }
    // a number that is finite and becomes infinite is an error
    item.as_float().map(|v| dtype.round(v)).filter(|v| v.is_finite())
}

/// The steps in a flat array in C order, one per axis.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis];
    }
    steps
}

/// All indices of a shape, in C order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count: usize = shape.iter().product();
    let steps = strides(shape);
    (0..count)
        .map(move |flat| steps.iter().zip(shape).map(|(step, size)| flat / step % size).collect())
}

/// Steps with which `shape` is read as `target`, as NumPy broadcasts; None where it does not fit.
pub fn broadcast_strides(shape: &[usize], target: &[usize]) -> Option<Vec<usize>> {
    let missing = target.len().checked_sub(shape.len())?;
    let mut steps = vec![0; target.len()];
    for (axis, step) in strides(shape).into_iter().enumerate() {
        if shape[axis] == target[missing + axis] {
            steps[missing + axis] = step;
        } else if shape[axis] != 1 {
            return None;
        }
    }
    Some(steps)
}

pub fn dot(index: &[usize], steps: &[usize]) -> usize {
    index.iter().zip(steps).map(|(i, s)| i * s).sum()
}
