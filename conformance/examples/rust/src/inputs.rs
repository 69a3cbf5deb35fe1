//! The arrays of a question, by name.

use crate::arrays::{refused, Answer, Array, Failure};
use crate::json::Json;
use std::collections::HashMap;

pub enum Input {
    One(Array),
    Several(Vec<Array>),
}

pub struct Inputs(HashMap<String, Input>);

impl Inputs {
    pub fn read(json: &Json) -> Answer<Inputs> {
        let mut inputs = HashMap::new();
        for name in json.names() {
            let broken = |message: String| Failure::Broken(format!("{name}: {message}"));
            let input = match json.get(name).unwrap() {
                Json::List(items) => {
                    let arrays: Result<Vec<Array>, String> =
                        items.iter().map(Array::read).collect();
                    Input::Several(arrays.map_err(broken)?)
                }
                one => Input::One(Array::read(one).map_err(broken)?),
            };
            inputs.insert(name.to_string(), input);
        }
        Ok(Inputs(inputs))
    }

    pub fn maybe(&self, name: &str) -> Answer<Option<&Array>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Input::One(array)) => Ok(Some(array)),
            Some(_) => refused(format!("expected one array for {name}, got a list")),
        }
    }

    pub fn one(&self, name: &str) -> Answer<&Array> {
        self.maybe(name)?.map_or_else(|| refused(format!("expected the input {name}")), Ok)
    }

    pub fn several(&self, name: &str) -> Answer<&[Array]> {
        match self.0.get(name) {
            Some(Input::Several(arrays)) => Ok(arrays),
            _ => refused(format!("expected a list of arrays for {name}")),
        }
    }
}
