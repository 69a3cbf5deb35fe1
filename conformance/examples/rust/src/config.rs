//! Section 1: quantizers and configs.

use crate::absmax::Axes;
use crate::arguments::Arguments;
use crate::arrays::{refused, Answer, Dtype};
use crate::json::{parse, Json};

#[derive(Clone, Debug, PartialEq)]
pub struct AbsMaxQuantizer {
    pub axis: Axes,
    pub value_range: (i128, i128),
    pub epsilon: f64,
    pub output_dtype: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Quantizer {
    Base { output_dtype: String },
    AbsMax(AbsMaxQuantizer),
}

#[derive(Clone, Debug, PartialEq)]
pub struct GptqConfig {
    pub weight_bits: i128,
    pub num_samples: i128,
    pub per_channel: bool,
    pub sequence_length: i128,
    pub hessian_damping: f64,
    pub group_size: i128,
    pub symmetric: bool,
    pub activation_order: bool,
    pub structure: Json,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Quantizer(Quantizer),
    Config { weight: Option<Quantizer>, activation: Option<Quantizer> },
    Int8 { weight: Option<Quantizer>, activation: Option<Quantizer> },
    Int4 { weight: Option<Quantizer>, activation: Option<Quantizer>, block_size: Option<i128> },
    Gptq(GptqConfig),
}

fn check_output_dtype(name: &str) -> Answer<()> {
    if ["int8", "uint8", "int16", "uint16", "int32", "uint32"].contains(&name) {
        return Ok(());
    }
    refused(format!("expected an output dtype of at most 32 bits, got {name} [CFG-010]"))
}

impl AbsMaxQuantizer {
    pub fn default_with(axis: Axes) -> AbsMaxQuantizer {
        AbsMaxQuantizer {
            axis,
            value_range: (-127, 127),
            epsilon: 1e-7,
            output_dtype: "int8".into(),
        }
    }

    pub fn check(self) -> Answer<AbsMaxQuantizer> {
        check_output_dtype(&self.output_dtype)?; // [CFG-010]
        let (smallest, largest) = Dtype::of(&self.output_dtype).unwrap().bounds().unwrap();
        let (low, high) = self.value_range;
        // [CFG-110]
        if !(smallest <= low && low <= 0 && 0 < high && high <= largest) {
            return refused(format!(
                "expected lo ≤ 0 < hi within {}, got {low}, {high} [CFG-110]",
                self.output_dtype
            ));
        }
        if self.epsilon <= 0.0 || !quotient_is_binary32(high as f64, self.epsilon) {
            return refused(format!(
                "expected a positive epsilon with a finite hi / ε, got {} [CFG-130]",
                self.epsilon
            ));
        }
        if let Some(axes) = &self.axis {
            let mut sorted = axes.clone();
            sorted.sort();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return refused("expected each axis once [CFG-150]");
            }
        }
        Ok(self)
    }

    pub fn of_arguments(json: &Json) -> Answer<AbsMaxQuantizer> {
        let arguments = Arguments(json);
        arguments.known(&["axis", "value_range", "epsilon", "output_dtype"])?;
        AbsMaxQuantizer {
            axis: arguments.or("axis", Arguments::axes, None)?,
            value_range: arguments.or("value_range", Arguments::range, (-127, 127))?,
            epsilon: arguments.or("epsilon", Arguments::number, 1e-7)?,
            output_dtype: arguments.or("output_dtype", Arguments::text, "int8".into())?,
        }
        .check()
    }

    fn arguments(&self) -> Json {
        let integers = |items: &[i128]| Json::List(items.iter().map(|&i| Json::int(i)).collect());
        let (low, high) = self.value_range;
        Json::object(vec![
            ("axis", self.axis.as_deref().map_or(Json::Null, integers)),
            ("value_range", integers(&[low, high])),
            ("epsilon", Json::float(self.epsilon)),
            ("output_dtype", Json::text(&self.output_dtype)),
        ])
    }
}

/// Whether f32(high / epsilon) is finite. [CFG-130]
/// The quotient in binary64 can be the limit although the exact
/// one is below it.
fn quotient_is_binary32(high: f64, epsilon: f64) -> bool {
    let limit = 2f64.powi(128) - 2f64.powi(103);
    let quotient = high / epsilon;
    quotient < limit || (quotient == limit && (-quotient).mul_add(epsilon, high) < 0.0)
}

impl Quantizer {
    pub fn output_dtype(&self) -> &str {
        match self {
            Quantizer::Base { output_dtype } => output_dtype,
            Quantizer::AbsMax(quantizer) => &quantizer.output_dtype,
        }
    }

    fn class_and_arguments(&self) -> (&str, Json) {
        match self {
            Quantizer::Base { output_dtype } => {
                ("Quantizer", Json::object(vec![("output_dtype", Json::text(output_dtype))]))
            }
            Quantizer::AbsMax(quantizer) => ("AbsMaxQuantizer", quantizer.arguments()),
        }
    }
}

/// A quantizer or None. [CFG-050]
fn nested(json: &Json) -> Answer<Option<Quantizer>> {
    match json {
        Json::Null => Ok(None),
        Json::Object(_) => match Object::of_description(json)? {
            Object::Quantizer(quantizer) => Ok(Some(quantizer)),
            _ => refused("expected a quantizer, got a config [CFG-050]"),
        },
        _ => refused("expected a quantizer or None [CFG-050]"),
    }
}

/// The config of section 13.
fn four_bits(arguments: &Arguments) -> Answer<Object> {
    arguments.known(&["weight_quantizer", "activation_quantizer", "block_size"])?;
    // [FOUR-140]
    let block_size = match arguments.get("block_size") {
        Some(Json::Null) => None,
        _ => Some(arguments.or("block_size", Arguments::int, 128)?),
    };
    let grouped = block_size.is_some_and(|size| size != -1);
    if grouped && block_size < Some(1) {
        return refused("expected a block size from 1 on, -1 or None [FOUR-150]");
    }
    let weight = nested(arguments.get("weight_quantizer").unwrap_or(&Json::Null))?;
    let activation = match arguments.get("activation_quantizer") {
        Some(json) if !is_default(json) => nested(json)?,
        _ => None, // [FOUR-180]
    };
    if grouped && (weight.is_some() || activation.is_some()) {
        return refused("expected no quantizers with groups [FOUR-160]");
    }
    match &weight {
        None => {}
        Some(Quantizer::AbsMax(w)) if w.value_range == (-8, 7) && w.output_dtype == "int8" => {}
        _ => return refused("expected a weight quantizer of -8 … 7 and int8 [FOUR-170]"),
    }
    Ok(Object::Int4 { weight, activation, block_size })
}

fn is_default(json: &Json) -> bool {
    json.as_text().as_deref() == Some("default")
}

impl Object {
    pub fn of_description(json: &Json) -> Answer<Object> {
        if !json.is_object() {
            return refused("expected a description of an object");
        }
        let description = Arguments(json);
        let class = description.text("class")?;
        Object::make(&class, description.needed("arguments")?)
    }

    pub fn make(class: &str, json: &Json) -> Answer<Object> {
        if !json.is_object() {
            return refused("expected an object of arguments");
        }
        let arguments = Arguments(json);
        match class {
            "Quantizer" => {
                arguments.known(&["output_dtype"])?;
                let output_dtype = arguments.or("output_dtype", Arguments::text, "int8".into())?;
                check_output_dtype(&output_dtype)?;
                Ok(Object::Quantizer(Quantizer::Base { output_dtype }))
            }
            "AbsMaxQuantizer" => {
                Ok(Object::Quantizer(Quantizer::AbsMax(AbsMaxQuantizer::of_arguments(json)?)))
            }
            "QuantizationConfig" => {
                arguments.known(&["weight_quantizer", "activation_quantizer"])?;
                Ok(Object::Config {
                    weight: nested(arguments.get("weight_quantizer").unwrap_or(&Json::Null))?,
                    activation: nested(
                        arguments.get("activation_quantizer").unwrap_or(&Json::Null),
                    )?,
                })
            }
            "Int8QuantizationConfig" => {
                arguments.known(&["weight_quantizer", "activation_quantizer"])?;
                let weight = nested(arguments.get("weight_quantizer").unwrap_or(&Json::Null))?;
                if weight.as_ref().is_some_and(|w| w.output_dtype() != "int8") {
                    return refused("expected a weight quantizer with output dtype int8 [CFG-060]");
                }
                // [CFG-060]
                let activation = match arguments.get("activation_quantizer") {
                    Some(json) if !is_default(json) => nested(json)?,
                    _ => Some(Quantizer::AbsMax(AbsMaxQuantizer::default_with(Some(vec![-1])))),
                };
                Ok(Object::Int8 { weight, activation })
            }
            "Int4QuantizationConfig" => four_bits(&arguments),
            "GPTQConfig" => Ok(Object::Gptq(GptqConfig::of_arguments(&arguments)?)),
            _ => refused(format!("expected a class of section 1 or 13, got {class}")),
        }
    }

    /// What `get_config` gives: the arguments that make an equal object.
    pub fn description(&self) -> Json {
        let nested = |quantizer: &Option<Quantizer>| match quantizer {
            None => Json::Null,
            Some(quantizer) => {
                let (class, arguments) = quantizer.class_and_arguments();
                Json::object(vec![("class", Json::text(class)), ("arguments", arguments)])
            }
        };
        let (class, arguments) = match self {
            Object::Quantizer(quantizer) => quantizer.class_and_arguments(),
            Object::Config { weight, activation } | Object::Int8 { weight, activation } => (
                if matches!(self, Object::Int8 { .. }) {
                    "Int8QuantizationConfig"
                } else {
                    "QuantizationConfig"
                },
                Json::object(vec![
                    ("weight_quantizer", nested(weight)),
                    ("activation_quantizer", nested(activation)),
                ]),
            ),
            Object::Int4 { weight, activation, block_size } => (
                "Int4QuantizationConfig",
                Json::object(vec![
                    ("weight_quantizer", nested(weight)),
                    ("activation_quantizer", nested(activation)),
                    ("block_size", block_size.map_or(Json::Null, Json::int)),
                ]),
            ),
            Object::Gptq(config) => {
                let mut arguments = config.settings();
                arguments.push(("quantization_layer_structure", config.structure.clone()));
                arguments.push(("dataset", Json::Null));
                arguments.push(("tokenizer", Json::Null));
                ("GPTQConfig", Json::object(arguments))
            }
        };
        Json::object(vec![("class", Json::text(class)), ("arguments", arguments)])
    }

    /// ROUND TRIP. [CFG-090]
    pub fn round_trip(&self) -> Answer<Object> {
        let text = self.description().write();
        Object::of_description(&parse(&text).map_err(crate::arrays::Failure::Broken)?)
    }

    pub fn fields(&self) -> Json {
        let nested = |quantizer: &Option<Quantizer>| match quantizer {
            None => Json::Null,
            Some(quantizer) => {
                let (class, fields) = quantizer.class_and_arguments();
                Json::object(vec![("class", Json::text(class)), ("fields", fields)])
            }
        };
        match self {
            Object::Quantizer(quantizer) => quantizer.class_and_arguments().1,
            Object::Config { weight, activation } => Json::object(vec![
                ("weight_quantizer", nested(weight)),
                ("activation_quantizer", nested(activation)),
            ]),
            Object::Int8 { weight, activation } => Json::object(vec![
                ("mode", Json::text("int8")),
                ("weight_quantizer", nested(weight)),
                ("activation_quantizer", nested(activation)),
            ]),
            Object::Int4 { weight, activation, block_size } => Json::object(vec![
                ("mode", Json::text("int4")),
                ("weight_quantizer", nested(weight)),
                ("activation_quantizer", nested(activation)),
                ("block_size", block_size.map_or(Json::Null, Json::int)),
            ]),
            Object::Gptq(config) => {
                let mut fields = vec![("mode", Json::text("gptq"))];
                fields.extend(config.settings());
                Json::object(fields)
            }
        }
    }
}

impl GptqConfig {
    /// [CFG-070] [CFG-080]
    fn of_arguments(arguments: &Arguments) -> Answer<GptqConfig> {
        arguments.known(&[
            "dataset",
            "tokenizer",
            "weight_bits",
            "num_samples",
            "per_channel",
            "sequence_length",
            "hessian_damping",
            "group_size",
            "symmetric",
            "activation_order",
            "quantization_layer_structure",
        ])?;
        let structure =
            arguments.get("quantization_layer_structure").unwrap_or(&Json::Null).clone();
        let names = ["pre_block_layers", "sequential_blocks"];
        let known = structure.is_object() && structure.names().iter().all(|n| names.contains(n));
        if !known && structure != Json::Null {
            return refused("expected a layer structure with the keys of section 1, or None");
        }
        let config = GptqConfig {
            weight_bits: arguments.or("weight_bits", Arguments::int, 4)?,
            num_samples: arguments.or("num_samples", Arguments::int, 128)?,
            per_channel: arguments.or("per_channel", Arguments::boolean, true)?,
            sequence_length: arguments.or("sequence_length", Arguments::int, 512)?,
            hessian_damping: arguments.or("hessian_damping", Arguments::number, 0.01)?,
            group_size: arguments.or("group_size", Arguments::int, 128)?,
            symmetric: arguments.or("symmetric", Arguments::boolean, false)?,
            activation_order: arguments.or("activation_order", Arguments::boolean, false)?,
            structure,
        };
        if ![2, 3, 4, 8].contains(&config.weight_bits) {
            return refused(format!(
                "expected 2, 3, 4 or 8 bits, got {} [CFG-080]",
                config.weight_bits
            ));
        }
        if config.group_size < 1 && config.group_size != -1 {
            return refused(format!(
                "expected a group size from 1 on, or -1, got {} [CFG-080]",
                config.group_size
            ));
        }
        if !(0.0..=1.0).contains(&config.hessian_damping) {
            return refused(format!(
                "expected damping in 0 to 1, got {} [CFG-080]",
                config.hessian_damping
            ));
        }
        if config.num_samples < 1 || config.sequence_length < 1 {
            return refused("expected counts from 1 on [CFG-080]");
        }
        Ok(config)
    }

    fn settings(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("weight_bits", Json::int(self.weight_bits)),
            ("num_samples", Json::int(self.num_samples)),
            ("per_channel", Json::Bool(self.per_channel)),
            ("sequence_length", Json::int(self.sequence_length)),
            ("hessian_damping", Json::float(self.hessian_damping)),
            ("group_size", Json::int(self.group_size)),
            ("symmetric", Json::Bool(self.symmetric)),
            ("activation_order", Json::Bool(self.activation_order)),
        ]
    }
}
