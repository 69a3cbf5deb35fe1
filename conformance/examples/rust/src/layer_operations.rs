//! Operations that make a layer, call it, and save it.

use crate::arguments::Arguments;
use crate::arrays::{refused, Answer, Array};
use crate::config::Object;
use crate::equations::{check_outputs, Equation};
use crate::inputs::Inputs;
use crate::json::Json;
use crate::layers::{check_bias, quantize_kernel, Kind, Layer, DENSE, TIED};

fn relu(p: &Arguments) -> Answer<bool> {
    match p.get("activation") {
        Some(Json::Null) => Ok(false),
        Some(json) if json.as_text().as_deref() == Some("relu") => Ok(true),
        _ => refused("expected relu or None for activation [LAY-150]"),
    }
}

/// The equation of a layer, after the checks of what else an EinsumDense says.
fn equation_of(
    operation: &str,
    p: &Arguments,
    inputs: &Inputs,
    kernel: &[usize],
) -> Answer<String> {
    let x = inputs.one("x")?;
    if operation.starts_with("dense") {
        if kernel.len() != 2 {
            return refused("expected a kernel of rank 2 [LAY-150]");
        }
        return Ok(DENSE.into());
    }
    let text = p.text("equation")?;
    let equation = Equation::parse(&text)?;
    let bias_axes = match p.get("bias_axes") {
        Some(Json::Null) => None,
        _ => Some(p.text("bias_axes")?),
    };
    let output_shape = p.sizes("output_shape")?;
    let bias = inputs.maybe("bias")?;
    check_outputs(&equation, &x.shape, kernel, &output_shape, bias_axes.as_deref(), bias)?;
    Ok(text)
}

/// values, what the layer stores, and with `reload` what the loaded layer says.
fn layer_outputs(
    layer: &Layer,
    x: &Array,
    reload: bool,
    stored: Vec<(&str, Array)>,
) -> Answer<Json> {
    let mut fields = vec![("values", layer.call(x)?.write())];
    fields.extend(stored.into_iter().map(|(name, array)| (name, array.write())));
    if reload {
        let (values, config) = layer.reload(x)?;
        fields.push(("reloaded", values));
        fields.push(("fields", config));
    }
    Ok(Json::object(fields))
}

pub fn int8_layer(operation: &str, p: &Arguments, inputs: &Inputs) -> Answer<Json> {
    let config = Object::of_description(p.get("config").unwrap())?;
    let (relu, reload) = (relu(p)?, p.boolean("reload")?);
    let (x, kernel) = (inputs.one("x")?, inputs.one("kernel")?);
    let text = equation_of(operation, p, inputs, &kernel.shape)?;
    let axes = Equation::parse(&text)?.kernel_axes();
    let (codes, scale) = quantize_kernel(kernel, &axes, &config, "kernel")?;
    let layer = Layer {
        kind: Kind::Equation,
        reverse: false,
        equation: text,
        config,
        kernel: Some((codes.clone(), scale.clone())),
        reverse_kernel: None,
        packed: None,
        bias: check_bias(inputs.maybe("bias")?)?,
        relu,
    };
    layer_outputs(&layer, x, reload, vec![("kernel", codes), ("kernel_scale", scale)])
}

pub fn gptq_layer(operation: &str, p: &Arguments, inputs: &Inputs) -> Answer<Json> {
    let config = Object::of_description(p.get("config").unwrap())?;
    let (relu, reload) = (relu(p)?, p.boolean("reload")?);
    let shape = p.sizes("kernel_shape")?;
    let text = equation_of(operation, p, inputs, &shape)?;
    let array = |name: &str| inputs.one(name).cloned();
    let packed = [array("packed")?, array("scale")?, array("zero_point")?, array("g_idx")?];
    let layer = Layer {
        kind: Kind::Equation,
        reverse: false,
        equation: text,
        config,
        kernel: None,
        reverse_kernel: None,
        packed: Some((packed, shape)),
        bias: check_bias(inputs.maybe("bias")?)?,
        relu,
    };
    layer_outputs(&layer, inputs.one("x")?, reload, vec![])
}

pub fn embedding_layer(operation: &str, p: &Arguments, inputs: &Inputs) -> Answer<Json> {
    let config = Object::of_description(p.get("config").unwrap())?;
    let reload = p.boolean("reload")?;
    let reversible = operation.starts_with("reversible");
    let reverse = reversible && p.boolean("reverse")?;
    let tied = !reversible || p.boolean("tie_weights")?;
    let (given, other) = if reverse { ("x", "tokens") } else { ("tokens", "x") };
    let x = inputs.one(given)?;
    if inputs.maybe(other)?.is_some() {
        return refused(format!("expected {given} alone, got {other} too [LAY-150]"));
    }
    let embeddings = inputs.one("embeddings")?;
    let (rows, width) = embeddings.matrix("embeddings")?;
    let (codes, scale) = quantize_kernel(embeddings, &[1], &config, "embeddings")?;
    let mut stored = vec![("embeddings", codes.clone()), ("embeddings_scale", scale.clone())];
    let reverse_kernel = match inputs.maybe("reverse_embeddings")? {
        None if tied => None,
        None => return refused("expected reverse embeddings of an untied layer [LAY-150]"),
        Some(_) if tied => {
            return refused("expected no reverse embeddings of a tied layer [LAY-150]")
        }
        Some(kernel) => {
            if kernel.shape != [width, rows] {
                return refused(
                    "expected reverse embeddings of shape (n_features, n_tokens) [LAY-150]",
                );
            }
            let (q, s) = quantize_kernel(kernel, &[0], &config, "reverse embeddings")?;
            stored.push(("reverse_embeddings", q.clone()));
            stored.push(("reverse_embeddings_scale", s.clone()));
            Some((q, s))
        }
    };
    let layer = Layer {
        kind: if reversible { Kind::Reversible } else { Kind::Embedding },
        reverse,
        equation: if tied { TIED.into() } else { DENSE.into() },
        config,
        kernel: Some((codes, scale)),
        reverse_kernel,
        packed: None,
        bias: None,
        relu: false,
    };
    layer_outputs(&layer, x, reload, stored)
}
