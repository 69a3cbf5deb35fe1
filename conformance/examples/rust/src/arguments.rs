//! Named values of a question, each read with the type that it must have (SPEC.md, section 0).

use crate::absmax::Axes;
use crate::arrays::{refused, Answer};
use crate::json::Json;

/// Parameters of an operation, or arguments of a class.
pub struct Arguments<'a>(pub &'a Json);

impl<'a> Arguments<'a> {
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name)
    }

    pub fn known(&self, names: &[&str]) -> Answer<()> {
        match self.0.names().iter().find(|name| !names.contains(name)) {
            Some(name) => refused(format!("expected arguments among {names:?}, got {name}")),
            None => Ok(()),
        }
    }

    fn read<T>(&self, name: &str, kind: &str, value: Option<T>) -> Answer<T> {
        value.map_or_else(|| refused(format!("expected {kind} for {name}")), Ok)
    }

    pub fn needed(&self, name: &str) -> Answer<&'a Json> {
        self.read(name, "a value", self.get(name))
    }

    pub fn int(&self, name: &str) -> Answer<i128> {
        self.read(name, "an integer", self.needed(name)?.as_int())
    }

    pub fn number(&self, name: &str) -> Answer<f64> {
        let value = self.needed(name)?.as_float().filter(|v| v.is_finite());
        self.read(name, "a finite number", value)
    }

    pub fn boolean(&self, name: &str) -> Answer<bool> {
        match self.needed(name)? {
            Json::Bool(value) => Ok(*value),
            _ => refused(format!("expected a boolean for {name}")),
        }
    }

    pub fn text(&self, name: &str) -> Answer<String> {
        self.read(name, "a string", self.needed(name)?.as_text())
    }

    pub fn axes(&self, name: &str) -> Answer<Axes> {
        match self.needed(name)? {
            Json::Null => Ok(None),
            Json::List(items) => {
                let axes: Option<Vec<i128>> = items.iter().map(Json::as_int).collect();
                Ok(Some(self.read(name, "integers", axes)?))
            }
            one => Ok(Some(vec![self.read(name, "an integer", one.as_int())?])),
        }
    }

    pub fn sizes(&self, name: &str) -> Answer<Vec<usize>> {
        let size = |item: &Json| item.as_int().and_then(|v| usize::try_from(v).ok());
        let items = self.needed(name)?.as_list();
        let sizes = items.and_then(|items| items.iter().map(size).collect());
        self.read(name, "a list of sizes", sizes)
    }

    pub fn range(&self, name: &str) -> Answer<(i128, i128)> {
        let pair = match self.needed(name)?.as_list() {
            Some([low, high]) => low.as_int().zip(high.as_int()),
            _ => None,
        };
        self.read(name, "two integers", pair)
    }

    pub fn or<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Answer<T>,
        default: T,
    ) -> Answer<T> {
        if self.get(name).is_none() {
            return Ok(default);
        }
        read(self, name)
    }
}
