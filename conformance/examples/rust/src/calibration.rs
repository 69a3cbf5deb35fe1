//! Section 10: windows of tokens, and models.

use crate::absmax::abs_max_quantize;
use crate::arguments::Arguments;
use crate::arrays::{refused, Answer, Array, Dtype};
use crate::config::AbsMaxQuantizer;
use crate::gptq::{check_settings, gptq_quantize, Quantized, Settings};
use crate::hessian::sum_of_tokens;
use crate::json::Json;

// ---- windows

/// An item of a dataset.
pub enum Item<'a> {
    Text(&'a [u32]),
    Tokens(&'a Array),
}

/// A callable, or an object with a method; both give the code points.
#[derive(Clone, Copy)]
pub enum Tokenizer {
    Callable(fn(&[u32]) -> Vec<i128>),
    Object(CodePoints),
}

#[derive(Clone, Copy)]
pub struct CodePoints;

impl CodePoints {
    fn tokenize(&self, text: &[u32]) -> Vec<i128> {
        text.iter().map(|&point| point as i128).collect()
    }
}

impl Tokenizer {
    fn call(&self, text: &[u32]) -> Vec<i128> {
        match self {
            Tokenizer::Callable(function) => function(text),
            Tokenizer::Object(object) => object.tokenize(text),
        }
    }
}

/// TOKENS and WINDOWS of a dataset, which is read once. [CAL-010] [CAL-020] [CAL-060]
pub fn windows_of<'a>(
    dataset: impl Iterator<Item = Item<'a>>,
    tokenizer: Option<Tokenizer>,
    num_samples: i128,
    sequence_length: i128,
) -> Answer<Array> {
    if num_samples < 1 || sequence_length < 1 {
        return refused("expected num_samples and sequence_length from 1 on [CAL-080]");
    }
    let mut tokens: Vec<i128> = vec![];
    for item in dataset {
        let start = tokens.len();
        match (item, tokenizer) {
            (Item::Tokens(array), _) => tokens.extend(array.whole("tokens")?),
            (Item::Text(text), Some(tokenizer)) => tokens.extend(tokenizer.call(text)),
            (Item::Text(_), None) => return refused("expected a tokenizer for strings [CAL-080]"),
        }
        if tokens[start..].iter().any(|t| !(0..1 << 31).contains(t)) {
            return refused("expected tokens in 0 to 2^31 - 1 [CAL-080]");
        }
    }
    let total = tokens.len() as i128; // [CAL-070]
    let needed = num_samples.saturating_mul(sequence_length);
    if total < needed {
        return refused(format!("expected at least {needed} tokens, got {total} [CAL-070]"));
    }
    let mut data = Vec::with_capacity(needed as usize);
    for k in 0..num_samples {
        // [CAL-030] [CAL-040]
        let start =
            if num_samples == 1 { 0 } else { k * (total - sequence_length) / (num_samples - 1) };
        data.extend_from_slice(&tokens[start as usize..(start + sequence_length) as usize]);
    }
    let shape = [num_samples as usize, sequence_length as usize];
    Ok(Array::integers(Dtype::Int(32), &shape, data))
}

/// `calibration_windows` of a question.
pub fn calibration_windows(parameters: &Arguments, dataset: &[Array]) -> Answer<Array> {
    let tokenizer = match parameters.get("tokenizer") {
        Some(Json::Null) => None,
        Some(json) => match json.as_text().as_deref() {
            Some("callable") => Some(Tokenizer::Callable(|text| CodePoints.tokenize(text))),
            Some("object") => Some(Tokenizer::Object(CodePoints)),
            _ => return refused("expected object, callable or None for tokenizer"),
        },
        None => return refused("expected a tokenizer or None"),
    };
    if !["list", "generator"].contains(&parameters.text("iterable")?.as_str()) {
        return refused("expected list or generator for iterable");
    }
    let (samples, length) = (parameters.int("num_samples")?, parameters.int("sequence_length")?);
    match parameters.get("texts") {
        Some(Json::Null) => {
            windows_of(dataset.iter().map(Item::Tokens), tokenizer, samples, length)
        }
        Some(Json::List(items)) => {
            let mut texts: Vec<&[u32]> = vec![];
            for item in items {
                match item {
                    Json::Text(points) => texts.push(points),
                    _ => return refused("expected a list of strings for texts"),
                }
            }
            windows_of(texts.into_iter().map(Item::Text), tokenizer, samples, length)
        }
        _ => refused("expected a dataset that is no single string [CAL-080]"),
    }
}

// ---- models

struct LayerOf<'a> {
    weights: &'a Array,
    bias: &'a [f64],
    relu: bool,
}

pub struct Model<'a> {
    embedding: &'a Array,
    blocks: Vec<(Vec<LayerOf<'a>>, bool)>,
    head: &'a Array,
}

impl<'a> Model<'a> {
    /// The model of a question. [CAL-160]
    pub fn of(
        blocks: &Json,
        embedding: &'a Array,
        weights: &'a [Array],
        biases: &'a [Array],
    ) -> Answer<Model<'a>> {
        let (_, width) = embedding.matrix("the embedding")?;
        embedding.finite("the embedding")?;
        if embedding.len() == 0 {
            return refused("expected an embedding that is not empty [CAL-160]");
        }
        let Some(blocks) = blocks.as_list() else {
            return refused("expected a list of blocks [CAL-160]");
        };
        if blocks.is_empty() {
            return refused("expected at least one block [CAL-160]");
        }
        let mut layers = weights.iter().zip(biases);
        let mut width = width;
        let mut take = |width: &mut usize| -> Answer<(&'a Array, &'a [f64])> {
            let Some((weights, bias)) = layers.next() else {
                return refused("expected weights and a bias of every layer [CAL-160]");
            };
            let (n_out, n_in) = weights.matrix("weights")?;
            weights.finite("weights")?;
            let values = bias.finite("biases")?;
            if n_in != *width || bias.shape != [n_out] || weights.len() == 0 {
                return refused("expected layers that fit each other [CAL-160]");
            }
            *width = n_out;
            Ok((weights, values))
        };
        let mut made = vec![];
        for block in blocks {
            if !block.is_object() {
                return refused("expected an object for each block [CAL-160]");
            }
            let block = Arguments(block);
            let residual = block.boolean("residual")?;
            let Some(activations) = block.get("activations").and_then(Json::as_list) else {
                return refused("expected the activations of each block [CAL-160]");
            };
            if activations.is_empty() {
                return refused("expected at least one layer in each block [CAL-160]");
            }
            let entry = width;
            let mut own = vec![];
            for activation in activations {
                let relu = match activation.as_text().as_deref() {
                    Some("relu") => true,
                    Some("linear") => false,
                    _ => return refused("expected linear or relu [CAL-160]"),
                };
                let (weights, bias) = take(&mut width)?;
                own.push(LayerOf { weights, bias, relu });
            }
            if residual && width != entry {
                return refused("expected a residual block that keeps its width [CAL-160]");
            }
            made.push((own, residual));
        }
        let (head, _) = take(&mut width)?;
        let count = made.iter().map(|(own, _)| own.len()).sum::<usize>() + 1;
        if weights.len() != count || biases.len() != count {
            return refused("expected weights and a bias of every layer [CAL-160]");
        }
        Ok(Model { embedding, blocks: made, head })
    }

    /// Codes and scales of the embedding, of all layers and of the head. [CAL-150]
    pub fn int8(&self) -> Answer<(Vec<Array>, Vec<Array>)> {
        let quantizer = AbsMaxQuantizer::default_with(None);
        let layers = self.blocks.iter().flat_map(|(own, _)| own.iter().map(|layer| layer.weights));
        let all = std::iter::once(self.embedding).chain(layers).chain([self.head]);
        let mut answer = (vec![], vec![]);
        for weights in all {
            let (codes, scale) = abs_max_quantize(weights, &Some(vec![-1]), &quantizer)?;
            answer.0.push(codes);
            answer.1.push(Array { shape: vec![weights.shape[0]], ..scale });
        }
        Ok(answer)
    }

    /// The outputs of section 7 for every layer in a model block. [CAL-090]
    pub fn gptq(&self, windows: &Array, settings: &Settings) -> Answer<Vec<Quantized>> {
        check_settings(settings)?;
        let (rows, width) = self.embedding.matrix("the embedding")?;
        let embedding = self.embedding.finite("the embedding")?;
        let mut x = Tokens { width, values: vec![] };
        for &token in windows.whole("windows")? {
            if token >= rows as i128 {
                return refused(format!("expected tokens below {rows}, got {token} [CAL-160]"));
            }
            x.values.extend_from_slice(
                &embedding[token as usize * width..(token as usize + 1) * width],
            );
        }
        // EMBED [CAL-110]
        let mut answer = vec![];
        for (layers, residual) in &self.blocks {
            let entry = x.clone();
            let mut inputs = x;
            let mut quantized = vec![];
            for layer in layers {
                // CALIBRATE [CAL-130]
                let n = inputs.width;
                let h = sum_of_tokens(inputs.values.chunks(n), n);
                let h = Array::floats(Dtype::Float64, &[n, n], h);
                // QUANTIZE [CAL-140]
                quantized.push(gptq_quantize(layer.weights, &h, settings)?);
                inputs = inputs.through(layer, layer.weights.finite("weights")?);
            }
            // RUN ON [CAL-120]
            x = entry.clone();
            for (layer, result) in layers.iter().zip(&quantized) {
                x = x.through(layer, &result.dequantized());
            }
            if *residual {
                for (y, x0) in x.values.iter_mut().zip(&entry.values) {
                    *y += x0;
                }
            }
            answer.extend(quantized);
        }
        Ok(answer)
    }
}

#[derive(Clone)]
struct Tokens {
    width: usize,
    values: Vec<f64>,
}

impl Tokens {
    fn through(&self, layer: &LayerOf, weights: &[f64]) -> Tokens {
        let n_out = layer.bias.len();
        let mut values = Vec::with_capacity(self.values.len() / self.width * n_out);
        for token in self.values.chunks(self.width) {
            for (row, bias) in weights.chunks(self.width).zip(layer.bias) {
                let y = row.iter().zip(token).map(|(w, x)| w * x).sum::<f64>() + bias;
                values.push(if layer.relu { y.max(0.0) } else { y });
            }
        }
        Tokens { width: n_out, values }
    }
}
