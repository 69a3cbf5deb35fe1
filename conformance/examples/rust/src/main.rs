//! A quantizer that answers questions as lines of JSON (SPEC.md, section 12).

mod absmax;
mod affine;
mod arguments;
mod arrays;
mod calibration;
mod config;
mod conformance;
mod equations;
mod gptq;
mod grouped;
mod hessian;
mod inputs;
mod json;
mod layer_files;
mod layer_operations;
mod layers;
mod operations;
mod packed_layers;
mod packing;
mod rounding;

use arrays::{Answer, Array, Failure};
use json::{parse, Json};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => conformance::serve(),
        ["--load", path] => once(|x| layer_files::load_and_call(path, x)),
        ["--windows"] => once(draw_windows),
        _ => {
            eprintln!("usage: quantizer, which reads questions from its standard input");
            std::process::exit(2);
        }
    }
}

/// Answer one line, in a process made for it.
fn once(answer: impl Fn(&Json) -> Answer<Json>) {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    let json = read.map_err(|e| e.to_string()).and_then(|_| parse(&text));
    let reply = match json.map_err(Failure::Broken).and_then(|json| answer(&json)) {
        Ok(reply) => reply,
        Err(Failure::Refused(message)) => Json::object(vec![("refused", Json::text(&message))]),
        Err(Failure::Unsupported(message) | Failure::Broken(message)) => {
            Json::object(vec![("error", Json::text(&message))])
        }
    };
    println!("{}", reply.write());
}

fn draw_windows(question: &Json) -> Answer<Json> {
    let part = |name: &str| question.get(name).ok_or(Failure::Broken(format!("expected {name}")));
    let dataset = part("dataset")?.as_list().unwrap_or(&[]).iter().map(Array::read);
    let dataset = dataset.collect::<Result<Vec<_>, _>>().map_err(Failure::Broken)?;
    let parameters = arguments::Arguments(part("parameters")?);
    let windows = calibration::calibration_windows(&parameters, &dataset)?;
    Ok(Json::object(vec![("windows", windows.write())]))
}

/// Start this program again, give it a line, and take its answer.
pub fn new_process(arguments: &[&str], input: &Json) -> Answer<Json> {
    let run = || -> std::io::Result<String> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // the process reads all of its input before it writes
        let mut stdin = child.stdin.take().unwrap();
        let sent = stdin.write_all(input.write().as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        sent?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = run().map_err(|error| Failure::Broken(format!("a new process: {error}")))?;
    let reply = parse(text.trim()).map_err(Failure::Broken)?;
    match reply.get("refused").or(reply.get("error")).map(|m| m.as_text().unwrap_or_default()) {
        None => Ok(reply),
        Some(message) if reply.get("refused").is_some() => Err(Failure::Refused(message)),
        Some(message) => Err(Failure::Broken(message)),
    }
}
