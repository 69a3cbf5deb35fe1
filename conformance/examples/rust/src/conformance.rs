//! Section 12: lines in, lines out.

use crate::arguments::Arguments;
use crate::arrays::{Answer, Failure};
use crate::inputs::Inputs;
use crate::json::{parse, Json};
use crate::operations::{compute, Operation, OPERATIONS};
/// Operations with the parameter `route`, which may be left out; all routes are one here.
const ROUTED: [&str; 4] =
    ["abs_max_quantize", "abs_max_quantizer", "config_round_trip", "grouped_quantize"];
/// Those with `left_out`, which may be left out too: a default that is given is the same.
const WITH_DEFAULTS: [&str; 2] = ["abs_max_quantize", "abs_max_quantizer"];

use std::io::{BufRead, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Answer lines until `stop` or the end of the input, each before the next one is read. [VER-060]
pub fn serve() {
    // a panic becomes an answer, and is not printed in addition
    std::panic::set_hook(Box::new(|_| {}));
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
        let Some(reply) = reply_to(&line) else {
            return;
        };
        let sent = writeln!(output, "{}", reply.write()).and_then(|()| output.flush());
        if sent.is_err() {
            return;
        }
    }
}

fn reply_to(line: &[u8]) -> Option<Json> {
    let json = std::str::from_utf8(line).map_err(|e| e.to_string()).and_then(parse);
    let json = match json {
        Ok(json) => json,
        Err(message) => return Some(reply(Json::Null, "error", &message)),
    };
    if json.get("stop").is_some() {
        return None;
    }
    if json.get("start").is_some() {
        return Some(ready());
    }
    let id = json.get("id").filter(|id| id.as_text().is_some()).cloned().unwrap_or(Json::Null);
    let Some((operation, parameters, inputs)) = question(&json) else {
        return Some(reply(id, "error", "expected a question"));
    };
    let answered = catch_unwind(AssertUnwindSafe(|| answer(&operation, parameters, inputs)));
    Some(match answered {
        Ok(Ok(outputs)) => Json::object(vec![("id", id), ("outputs", outputs)]),
        Ok(Err(Failure::Refused(message))) => reply(id, "refused", &message),
        Ok(Err(Failure::Unsupported(message))) => reply(id, "unsupported", &message),
        Ok(Err(Failure::Broken(message))) => reply(id, "error", &message),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or(panic.downcast_ref::<&str>().map(|m| m.to_string()));
            reply(id, "error", &message.unwrap_or("a panic".into()))
        }
    })
}

fn reply(id: Json, kind: &str, message: &str) -> Json {
    Json::object(vec![("id", id), (kind, Json::text(message))])
}

fn ready() -> Json {
    let operations = OPERATIONS.iter().map(|operation| Json::text(operation.0)).collect();
    let ready = Json::object(vec![
        ("protocol", Json::int(1)),
        ("name", Json::text("rust")),
        ("version", Json::text(env!("CARGO_PKG_VERSION"))),
        ("backend", Json::text("std")),
        ("precision", Json::text("float64")),
        ("operations", Json::List(operations)),
        ("choices", Json::List(vec![Json::text("all")])), // written from SPEC.md: it follows them
        ("versions", Json::object(vec![])),
    ]);
    Json::object(vec![("ready", ready)])
}

/// Operation, parameters and inputs, if the line is a question.
fn question(json: &Json) -> Option<(String, &Json, &Json)> {
    let text = |name: &str| json.get(name)?.as_text().filter(|text| !text.is_empty());
    text("id")?;
    let operation = text("operation")?;
    let parameters = json.get("parameters").filter(|p| p.is_object())?;
    let inputs = json.get("inputs").filter(|i| i.is_object())?;
    if let Some((_, needed, arrays, _)) = known(&operation) {
        let all = |names: &[&str], object: &Json| names.iter().all(|n| object.get(n).is_some());
        if !all(needed, parameters) || !all(arrays, inputs) {
            return None;
        }
    }
    Some((operation, parameters, inputs))
}

fn known(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.0 == name)
}

/// The rules of section 12, in their order.
fn answer(operation: &str, parameters: &Json, inputs: &Json) -> Answer<Json> {
    let unsupported = |what: String| Err(Failure::Unsupported(what));
    let Some((_, names, needed, optional)) = known(operation) else {
        return unsupported(format!("the operation {operation} is not known"));
    };
    let is_optional = |name: &str| {
        (name == "route" && ROUTED.contains(&operation))
            || (name == "left_out" && WITH_DEFAULTS.contains(&operation))
    };
    let is_parameter = |name: &&str| names.contains(name) || is_optional(name);
    if let Some(name) = parameters.names().iter().find(|n| !is_parameter(n)) {
        return unsupported(format!("the parameter {name} is not known"));
    }
    let is_input = |name: &&&str| needed.contains(*name) || optional.contains(*name);
    if let Some(name) = inputs.names().iter().find(|n| !is_input(n)) {
        return unsupported(format!("the input {name} is not known"));
    }
    if let Some(blocks) = parameters.get("blocks").and_then(Json::as_list) {
        let names = blocks.iter().flat_map(Json::names);
        if let Some(name) = names.into_iter().find(|n| !["activations", "residual"].contains(n)) {
            return unsupported(format!("the name {name} of a block is not known"));
        }
    }
    let inputs = Inputs::read(inputs)?;
    compute(operation, &Arguments(parameters), &inputs)
}
