//! The operations of section 12: what each needs, and which section answers it.

use crate::absmax::{abs_max_dequantize, abs_max_quantize, call_quantizer};
use crate::affine::{affine_dequantize, affine_parameters, affine_quantize};
use crate::arguments::Arguments;
use crate::arrays::{refused, Answer, Array, Dtype, Failure};
use crate::calibration::{calibration_windows, windows_of, Item, Model};
use crate::config::{AbsMaxQuantizer, Object};
use crate::gptq::{check_settings, gptq_quantize, Settings, BLOCK_SIZE};
use crate::grouped::{grouped_dequantize, grouped_quantize};
use crate::hessian::{factor, hessian, prepare};
use crate::inputs::Inputs;
use crate::json::Json;
use crate::layer_operations::{embedding_layer, gptq_layer, int8_layer};
use crate::packed_layers::{pack_layer, unpack_layer};
use crate::packing::{pack, pack_ternary, unpack, unpack_ternary};
use crate::rounding::{round_half_even, saturating_cast};

/// Name, parameters, inputs, and inputs that are not in every question.
pub type Operation =
    (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

pub const OPERATIONS: &[Operation] = &[
    ("round_half_even", &[], &["x"], &[]),
    ("saturating_cast", &["dtype"], &["x"], &[]),
    ("abs_max_quantize", &["axis", "value_range", "epsilon", "output_dtype"], &["x"], &[]),
    ("abs_max_quantizer", &["arguments", "call_axis"], &["x"], &[]),
    ("abs_max_dequantize", &[], &["codes", "scale"], &[]),
    ("affine_parameters", &["bits", "symmetric", "per_channel", "group_size"], &["weights"], &[]),
    ("affine_quantize", &["bits"], &["weights", "scale", "zero_point", "g_idx"], &[]),
    ("affine_dequantize", &[], &["codes", "scale", "zero_point", "g_idx"], &[]),
    ("pack", &["bits", "axis"], &["codes"], &[]),
    ("unpack", &["bits", "axis", "length"], &["packed"], &[]),
    ("pack_ternary", &["axis"], &["codes"], &[]),
    ("unpack_ternary", &["axis", "length"], &["packed"], &[]),
    ("pack_layer", &["format", "bits", "group_size"], &["codes", "zero_point"], &[]),
    (
        "unpack_layer",
        &["format", "bits", "group_size", "n_out", "n_in"],
        &["packed", "packed_zero_point"],
        &[],
    ),
    ("hessian", &[], &["batches"], &[]),
    ("prepare_hessian", &["damping", "activation_order"], &["hessian"], &[]),
    ("factor", &[], &["hessian"], &[]),
    (
        "gptq_quantize",
        &[
            "bits",
            "symmetric",
            "per_channel",
            "group_size",
            "activation_order",
            "damping",
            "block_size",
        ],
        &["weights", "hessian"],
        &[],
    ),
    ("config_round_trip", &["class", "arguments"], &[], &[]),
    ("dense_int8", &["config", "activation", "reload"], &["x", "kernel"], &["bias"]),
    (
        "einsum_dense_int8",
        &["equation", "bias_axes", "output_shape", "config", "activation", "reload"],
        &["x", "kernel"],
        &["bias"],
    ),
    (
        "dense_gptq",
        &["kernel_shape", "config", "activation", "reload"],
        &["x", "packed", "scale", "zero_point", "g_idx"],
        &["bias"],
    ),
    (
        "einsum_dense_gptq",
        &[
            "equation",
            "bias_axes",
            "output_shape",
            "kernel_shape",
            "config",
            "activation",
            "reload",
        ],
        &["x", "packed", "scale", "zero_point", "g_idx"],
        &["bias"],
    ),
    ("embedding_int8", &["config", "reload"], &["tokens", "embeddings"], &[]),
    (
        "reversible_embedding_int8",
        &["reverse", "tie_weights", "config", "reload"],
        &["embeddings"],
        &["x", "tokens", "reverse_embeddings"],
    ),
    (
        "calibration_windows",
        &["texts", "tokenizer", "iterable", "num_samples", "sequence_length"],
        &["dataset"],
        &[],
    ),
    (
        "calibration_processes",
        &["texts", "tokenizer", "iterable", "num_samples", "sequence_length"],
        &["dataset"],
        &[],
    ),
    ("quantize_model_int8", &["blocks"], &["embedding", "weights", "biases"], &[]),
    (
        "quantize_model_gptq",
        &[
            "blocks",
            "num_samples",
            "sequence_length",
            "bits",
            "symmetric",
            "per_channel",
            "group_size",
            "activation_order",
            "damping",
        ],
        &["embedding", "weights", "biases", "dataset"],
        &[],
    ),
    (
        "grouped_quantize",
        &["block_size", "value_range", "epsilon", "output_dtype"],
        &["weights"],
        &[],
    ),
    ("grouped_dequantize", &[], &["codes", "scale", "zero_point", "g_idx"], &[]),
];

fn outputs(arrays: Vec<(&str, Array)>) -> Answer<Json> {
    Ok(Json::object(arrays.into_iter().map(|(name, array)| (name, array.write())).collect()))
}

fn lists(arrays: Vec<(&str, Vec<Array>)>) -> Vec<(&str, Json)> {
    let list = |items: Vec<Array>| Json::List(items.iter().map(Array::write).collect());
    arrays.into_iter().map(|(name, items)| (name, list(items))).collect()
}

fn settings(p: &Arguments, block_size: i128) -> Answer<Settings> {
    Ok(Settings {
        bits: p.int("bits")?,
        symmetric: p.boolean("symmetric")?,
        per_channel: p.boolean("per_channel")?,
        group_size: p.int("group_size")?,
        activation_order: p.boolean("activation_order")?,
        damping: p.number("damping")?,
        block_size,
    })
}

pub fn compute(operation: &str, p: &Arguments, inputs: &Inputs) -> Answer<Json> {
    match operation {
        "round_half_even" => outputs(vec![("values", round_half_even(inputs.one("x")?)?)]),
        "saturating_cast" => {
            outputs(vec![("codes", saturating_cast(inputs.one("x")?, &p.text("dtype")?)?)])
        }
        "abs_max_quantize" => {
            let quantizer = AbsMaxQuantizer {
                axis: None,
                value_range: p.range("value_range")?,
                epsilon: p.number("epsilon")?,
                output_dtype: p.text("output_dtype")?,
            }
            .check()?;
            let (codes, scale) = abs_max_quantize(inputs.one("x")?, &p.axes("axis")?, &quantizer)?;
            outputs(vec![("codes", codes), ("scale", scale)])
        }
        "abs_max_quantizer" => {
            let arguments = p.get("arguments").unwrap();
            if !arguments.is_object() {
                return refused("expected an object of arguments");
            }
            let quantizer = AbsMaxQuantizer::of_arguments(arguments)?;
            let (codes, scale) =
                call_quantizer(inputs.one("x")?, &quantizer, &p.axes("call_axis")?)?;
            outputs(vec![("codes", codes), ("scale", scale)])
        }
        "abs_max_dequantize" => outputs(vec![(
            "values",
            abs_max_dequantize(inputs.one("codes")?, inputs.one("scale")?)?,
        )]),
        "affine_parameters" => {
            let (scale, zero_point) = affine_parameters(
                inputs.one("weights")?,
                p.int("bits")?,
                p.boolean("symmetric")?,
                p.boolean("per_channel")?,
                p.int("group_size")?,
            )?;
            outputs(vec![("scale", scale), ("zero_point", zero_point)])
        }
        "affine_quantize" => {
            let codes = affine_quantize(
                inputs.one("weights")?,
                inputs.one("scale")?,
                inputs.one("zero_point")?,
                inputs.one("g_idx")?,
                p.int("bits")?,
            )?;
            outputs(vec![("codes", codes)])
        }
        "affine_dequantize" => {
            let values = affine_dequantize(
                inputs.one("codes")?,
                inputs.one("scale")?,
                inputs.one("zero_point")?,
                inputs.one("g_idx")?,
            )?;
            outputs(vec![("values", values)])
        }
        "pack" => {
            outputs(vec![("packed", pack(inputs.one("codes")?, p.int("bits")?, p.int("axis")?)?)])
        }
        "unpack" => {
            let (bits, axis, length) = (p.int("bits")?, p.int("axis")?, p.int("length")?);
            outputs(vec![("codes", unpack(inputs.one("packed")?, bits, axis, length)?)])
        }
        "pack_ternary" => {
            outputs(vec![("packed", pack_ternary(inputs.one("codes")?, p.int("axis")?)?)])
        }
        "unpack_ternary" => {
            let (axis, length) = (p.int("axis")?, p.int("length")?);
            outputs(vec![("codes", unpack_ternary(inputs.one("packed")?, axis, length)?)])
        }
        "pack_layer" => {
            let (codes, zero_point) = (inputs.one("codes")?, inputs.one("zero_point")?);
            let (packed, packed_zero_point) = pack_layer(codes, zero_point, p)?;
            outputs(vec![("packed", packed), ("packed_zero_point", packed_zero_point)])
        }
        "unpack_layer" => {
            let (packed, zeros) = (inputs.one("packed")?, inputs.one("packed_zero_point")?);
            let (codes, zero_point) = unpack_layer(packed, zeros, p)?;
            outputs(vec![("codes", codes), ("zero_point", zero_point)])
        }
        "grouped_quantize" => {
            let (codes, scale, zero_point) = grouped_quantize(
                inputs.one("weights")?,
                p.int("block_size")?,
                p.range("value_range")?,
                &p.text("output_dtype")?,
                p.number("epsilon")?,
            )?;
            outputs(vec![("codes", codes), ("scale", scale), ("zero_point", zero_point)])
        }
        "grouped_dequantize" => {
            let values = grouped_dequantize(
                inputs.one("codes")?,
                inputs.one("scale")?,
                inputs.one("zero_point")?,
                inputs.one("g_idx")?,
            )?;
            outputs(vec![("values", values)])
        }
        "hessian" => outputs(vec![("hessian", hessian(inputs.several("batches")?)?)]),
        "prepare_hessian" => {
            let order = p.boolean("activation_order")?;
            let prepared = prepare(inputs.one("hessian")?, p.number("damping")?, order)?;
            let n = prepared.n;
            let dead = prepared.dead.iter().map(|&d| d as i128).collect();
            let order = prepared.order.iter().map(|&j| j as i128).collect();
            outputs(vec![
                ("damped", Array::floats(Dtype::Float64, &[n, n], prepared.damped)),
                ("dead", Array::integers(Dtype::Uint(8), &[n], dead)),
                ("order", Array::integers(Dtype::Int(32), &[n], order)),
            ])
        }
        "factor" => outputs(vec![("factor", factor(inputs.one("hessian")?)?)]),
        "gptq_quantize" => {
            let settings = settings(p, p.int("block_size")?)?;
            let result = gptq_quantize(inputs.one("weights")?, inputs.one("hessian")?, &settings)?;
            let [codes, scale, zero_point, g_idx] = result.arrays();
            outputs(vec![
                ("codes", codes),
                ("scale", scale),
                ("zero_point", zero_point),
                ("g_idx", g_idx),
            ])
        }
        "config_round_trip" => {
            let object = Object::make(&p.text("class")?, p.get("arguments").unwrap())?;
            Ok(Json::object(vec![("fields", object.round_trip()?.fields())]))
        }
        "dense_int8" | "einsum_dense_int8" => int8_layer(operation, p, inputs),
        "dense_gptq" | "einsum_dense_gptq" => gptq_layer(operation, p, inputs),
        "embedding_int8" | "reversible_embedding_int8" => embedding_layer(operation, p, inputs),
        "calibration_windows" => {
            outputs(vec![("windows", calibration_windows(p, inputs.several("dataset")?)?)])
        }
        "calibration_processes" => {
            let dataset = inputs.several("dataset")?.iter().map(Array::write).collect();
            let question =
                Json::object(vec![("parameters", p.0.clone()), ("dataset", Json::List(dataset))]);
            let draw = || -> Answer<Json> {
                let reply = crate::new_process(&["--windows"], &question)?;
                reply.get("windows").cloned().ok_or(Failure::Broken("expected windows".into()))
            };
            Ok(Json::object(vec![("first", draw()?), ("second", draw()?)]))
        }
        "quantize_model_int8" => {
            let model = model(p, inputs)?;
            let (codes, scale) = model.int8()?;
            Ok(Json::object(lists(vec![("codes", codes), ("scale", scale)])))
        }
        "quantize_model_gptq" => {
            let model = model(p, inputs)?;
            let settings = settings(p, BLOCK_SIZE)?;
            check_settings(&settings)?;
            let items = inputs.several("dataset")?.iter().map(Item::Tokens);
            let windows =
                windows_of(items, None, p.int("num_samples")?, p.int("sequence_length")?)?;
            let (mut codes, mut scale, mut zero_point, mut g_idx) =
                (vec![], vec![], vec![], vec![]);
            for layer in model.gptq(&windows, &settings)? {
                let [q, s, z, g] = layer.arrays();
                codes.push(q);
                scale.push(s);
                zero_point.push(z);
                g_idx.push(g);
            }
            let head = inputs.several("weights")?.last().unwrap();
            let mut fields = vec![("windows", windows.write()), ("head", head.write())];
            fields.extend(lists(vec![
                ("codes", codes),
                ("scale", scale),
                ("zero_point", zero_point),
                ("g_idx", g_idx),
            ]));
            Ok(Json::object(fields))
        }
        _ => Err(Failure::Broken(format!("{operation} is listed but not done"))),
    }
}

fn model<'a>(p: &Arguments, inputs: &'a Inputs) -> Answer<Model<'a>> {
    let (weights, biases) = (inputs.several("weights")?, inputs.several("biases")?);
    Model::of(p.get("blocks").unwrap(), inputs.one("embedding")?, weights, biases)
}
