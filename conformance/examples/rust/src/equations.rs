//! Equations of layers: which axes are contracted, and which are kept (SPEC.md, section 9).

use crate::arrays::{refused, strides, Answer, Array};
use std::collections::HashMap;

/// Where the equation has `...`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Dots {
    None,
    Before,
    Behind,
}

#[derive(Debug)]
pub struct Equation {
    dots: Dots,
    pub x: Vec<char>,
    pub kernel: Vec<char>,
    pub out: Vec<char>,
}

impl Equation {
    pub fn parse(text: &str) -> Answer<Equation> {
        Equation::read(text).map_or_else(
            || refused(format!("expected an equation of section 9, got {text} [LAY-150]")),
            Ok,
        )
    }

    fn read(text: &str) -> Option<Equation> {
        let (inputs, out) = text.split_once("->")?;
        let (x, kernel) = inputs.split_once(',')?;
        let cut = |part: &str| {
            if let Some(letters) = part.strip_prefix("...") {
                (Dots::Before, letters.chars().collect::<Vec<_>>())
            } else if let Some(letters) = part.strip_suffix("...") {
                (Dots::Behind, letters.chars().collect())
            } else {
                (Dots::None, part.chars().collect())
            }
        };
        let ((dots, x), (dots_out, out)) = (cut(x), cut(out));
        let kernel: Vec<char> = kernel.chars().collect();
        for letters in [&x, &kernel, &out] {
            let alone = (0..letters.len()).all(|i| !letters[..i].contains(&letters[i]));
            if letters.is_empty() || !alone || !letters.iter().all(char::is_ascii_alphabetic) {
                return None;
            }
        }
        let contracted = x.iter().filter(|c| kernel.contains(c) && !out.contains(c)).count();
        let alone = x.iter().any(|c| !kernel.contains(c) && !out.contains(c))
            || kernel.iter().any(|c| !x.contains(c) && !out.contains(c))
            || out.iter().any(|c| !x.contains(c) && !kernel.contains(c));
        if dots != dots_out || contracted == 0 || alone {
            return None;
        }
        Some(Equation { dots, x, kernel, out })
    }

    fn contracted_of(&self, letters: &[char]) -> Vec<usize> {
        (0..letters.len()).filter(|&i| !self.out.contains(&letters[i])).collect()
    }

    /// The contracted axes of the kernel.
    pub fn kernel_axes(&self) -> Vec<usize> {
        self.contracted_of(&self.kernel)
    }

    /// The sizes of all letters, for inputs and a kernel of these shapes.
    pub fn bind(&self, x: &[usize], kernel: &[usize]) -> Answer<Sizes> {
        let more = x.len().checked_sub(self.x.len());
        let Some(more) = more.filter(|&m| self.dots != Dots::None || m == 0) else {
            return refused("expected inputs of the rank of the equation [LAY-150]");
        };
        if kernel.len() != self.kernel.len() {
            return refused("expected a kernel of the rank of the equation [LAY-150]");
        }
        let first = if self.dots == Dots::Before { more } else { 0 };
        let mut of_letter = HashMap::new();
        let named = self.x.iter().zip(&x[first..]).chain(self.kernel.iter().zip(kernel));
        for (&letter, &size) in named {
            if *of_letter.entry(letter).or_insert(size) != size {
                return refused(format!("expected one size of the letter {letter} [LAY-150]"));
            }
        }
        let further = if self.dots == Dots::Before { &x[..more] } else { &x[self.x.len()..] };
        Ok(Sizes { of_letter, further: further.to_vec() })
    }

    /// The axes of inputs or outputs with these letters, `further` of which are those of `...`.
    pub fn axes(&self, letters: &[char], further: usize) -> Vec<Axis> {
        let dots = (0..further).map(Axis::Further);
        let named = letters.iter().map(|&c| Axis::Letter(c));
        match self.dots {
            Dots::Behind => named.chain(dots).collect(),
            _ => dots.chain(named).collect(),
        }
    }
}

/// An axis of an operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Axis {
    Further(usize),
    Letter(char),
}

pub struct Sizes {
    pub of_letter: HashMap<char, usize>,
    /// Those of the axes of `...`.
    pub further: Vec<usize>,
}

impl Sizes {
    pub fn of(&self, axes: &[Axis]) -> Vec<usize> {
        let size = |axis: &Axis| match axis {
            Axis::Further(i) => self.further[*i],
            Axis::Letter(c) => self.of_letter[c],
        };
        axes.iter().map(size).collect()
    }
}

/// The steps in an array with the axes `own`, for each axis of `wanted`; 0 where it has none.
pub fn steps_for(wanted: &[Axis], own: &[Axis], shape: &[usize]) -> Vec<usize> {
    let steps = strides(shape);
    let step = |axis: &Axis| own.iter().position(|a| a == axis).map_or(0, |i| steps[i]);
    wanted.iter().map(step).collect()
}

/// What an EinsumDense says of its outputs and its bias.
pub fn check_outputs(
    equation: &Equation,
    x: &[usize],
    kernel: &[usize],
    output_shape: &[usize],
    bias_axes: Option<&str>,
    bias: Option<&Array>,
) -> Answer<()> {
    let sizes = equation.bind(x, kernel)?;
    let letters: Vec<usize> = equation.out.iter().map(|c| sizes.of_letter[c]).collect();
    // the first axis of the outputs is one of `...`, or the first letter
    let dots_first = equation.dots == Dots::Before && !sizes.further.is_empty();
    let letters = if dots_first { &letters[..] } else { &letters[1..] };
    if output_shape != letters {
        return refused(format!(
            "expected an output shape of {letters:?}, got {output_shape:?} [LAY-150]"
        ));
    }
    let (axes, bias) = match (bias_axes, bias) {
        (None, None) => return Ok(()),
        (Some(axes), Some(bias)) => (axes.chars().collect::<Vec<char>>(), bias),
        _ => return refused("expected a bias exactly if it has axes [LAY-150]"),
    };
    let twice = (0..axes.len()).any(|i| axes[..i].contains(&axes[i]));
    if twice || axes.iter().any(|c| !equation.out.contains(c)) {
        return refused("expected letters of the outputs as axes of the bias [LAY-150]");
    }
    let Some(first) = equation.out.iter().position(|c| axes.contains(c)) else {
        return refused("expected axes of the bias [LAY-150]");
    };
    let mut shape: Vec<usize> = equation.out[first..]
        .iter()
        .map(|c| if axes.contains(c) { sizes.of_letter[c] } else { 1 })
        .collect();
    if equation.dots == Dots::Behind {
        shape.extend(sizes.further.iter().map(|_| 1));
    }
    if bias.shape != shape {
        return refused(format!(
            "expected a bias of shape {shape:?}, got {:?} [LAY-150]",
            bias.shape
        ));
    }
    Ok(())
}
