//! Layers in files, and in processes that load them (SPEC.md, section 9).

use crate::arrays::{Answer, Array, Failure};
use crate::config::Object;
use crate::json::{parse, Json};
use crate::layers::{Kind, Layer};
use std::io::Write;

impl Layer {
    fn write(&self) -> Json {
        let pair = |pair: &Option<(Array, Array)>| match pair {
            Some((a, b)) => Json::List(vec![a.write(), b.write()]),
            None => Json::Null,
        };
        let packed = match &self.packed {
            Some((arrays, shape)) => {
                let mut items: Vec<Json> = arrays.iter().map(Array::write).collect();
                items.push(Json::List(shape.iter().map(|&s| Json::int(s as i128)).collect()));
                Json::List(items)
            }
            None => Json::Null,
        };
        let kind = match self.kind {
            Kind::Equation => "equation",
            Kind::Embedding => "embedding",
            Kind::Reversible => "reversible",
        };
        Json::object(vec![
            ("kind", Json::text(kind)),
            ("reverse", Json::Bool(self.reverse)),
            ("equation", Json::text(&self.equation)),
            ("config", self.config.description()),
            ("kernel", pair(&self.kernel)),
            ("reverse_kernel", pair(&self.reverse_kernel)),
            ("packed", packed),
            ("bias", self.bias.as_ref().map_or(Json::Null, Array::write)),
            ("relu", Json::Bool(self.relu)),
        ])
    }

    fn read(json: &Json) -> Answer<Layer> {
        let broken =
            |what: &str| Failure::Broken(format!("expected {what} in the file of a layer"));
        let field = |name: &str| json.get(name).ok_or_else(|| broken(name));
        let array = |json: &Json| Array::read(json).map_err(Failure::Broken);
        let pair = |name: &str| match field(name)? {
            Json::List(items) => Ok(Some((array(&items[0])?, array(&items[1])?))),
            _ => Ok(None),
        };
        let text = |name: &str| field(name)?.as_text().ok_or_else(|| broken(name));
        let flag = |name: &str| Ok(*field(name)? == Json::Bool(true));
        let packed = match field("packed")? {
            Json::List(items) => {
                let arrays = items[..4].iter().map(array).collect::<Answer<Vec<_>>>()?;
                let shape = items[4].as_list().unwrap_or(&[]).iter();
                let shape = shape.filter_map(|s| s.as_int().map(|s| s as usize)).collect();
                Some((arrays.try_into().map_err(|_| broken("four arrays"))?, shape))
            }
            _ => None,
        };
        Ok(Layer {
            kind: match text("kind")?.as_str() {
                "equation" => Kind::Equation,
                "embedding" => Kind::Embedding,
                _ => Kind::Reversible,
            },
            reverse: flag("reverse")?,
            equation: text("equation")?,
            config: Object::of_description(field("config")?)?,
            kernel: pair("kernel")?,
            reverse_kernel: pair("reverse_kernel")?,
            packed,
            bias: match field("bias")? {
                Json::Null => None,
                json => Some(array(json)?),
            },
            relu: flag("relu")?,
        })
    }

    /// Save the layer to a file, and call it in a process that loads it: outputs and fields.
    /// [LAY-130] [LAY-140]
    pub fn reload(&self, x: &Array) -> Answer<(Json, Json)> {
        let broken =
            |what: &str, error: &dyn std::fmt::Display| Failure::Broken(format!("{what}: {error}"));
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let name = format!("layer-{}-{}.json", std::process::id(), time.as_nanos());
        let path = std::env::temp_dir().join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| broken("saving", &e))?;
        let answered = file
            .write_all(self.write().write().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|e| broken("saving", &e))
            .and_then(|()| crate::new_process(&["--load", &path.to_string_lossy()], &x.write()));
        let _ = std::fs::remove_file(&path);
        let answered = answered?;
        match (answered.get("values"), answered.get("fields")) {
            (Some(values), Some(fields)) => Ok((values.clone(), fields.clone())),
            _ => Err(Failure::Broken(format!("the loaded layer failed: {}", answered.write()))),
        }
    }
}

/// What the process of `reload` does: load the layer, and call it with the inputs.
pub fn load_and_call(path: &str, x: &Json) -> Answer<Json> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Failure::Broken(format!("loading: {e}")))?;
    let layer = Layer::read(&parse(&text).map_err(Failure::Broken)?)?;
    let values = layer.call(&Array::read(x).map_err(Failure::Broken)?)?;
    Ok(Json::object(vec![("values", values.write()), ("fields", layer.config.fields())]))
}
