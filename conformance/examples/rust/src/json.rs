//! JSON that keeps numbers as they are written: integers of any size, floats exact to binary64.

use std::fmt::Write;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The text of the number.
    Number(String),
    /// The code points of the string; an escape can give half of a surrogate pair alone.
    Text(Vec<u32>),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn text(value: &str) -> Json {
        Json::Text(value.chars().map(|c| c as u32).collect())
    }

    pub fn int(value: i128) -> Json {
        Json::Number(value.to_string())
    }

    /// The shortest decimal that reads back; numbers that are not finite are strings.
    pub fn float(value: f64) -> Json {
        if value.is_nan() {
            Json::text("NaN")
        } else if value.is_infinite() {
            Json::text(if value > 0.0 { "Infinity" } else { "-Infinity" })
        } else {
            Json::Number(format!("{value:?}"))
        }
    }

    pub fn object(fields: Vec<(&str, Json)>) -> Json {
        Json::Object(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            // the last one of equal names counts
            Json::Object(fields) => fields.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<String> {
        match self {
            Json::Text(points) => {
                Some(points.iter().map(|&p| char::from_u32(p).unwrap_or('\u{fffd}')).collect())
            }
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i128> {
        match self {
            Json::Number(text) if !text.contains(['.', 'e', 'E']) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Json::Object(_))
    }

    pub fn names(&self) -> Vec<&str> {
        match self {
            Json::Object(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
            _ => vec![],
        }
    }

    pub fn write(&self) -> String {
        let mut out = String::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::Text(points) => write_text(points.iter().copied(), out),
            Json::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_to(out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(name.chars().map(|c| c as u32), out);
                    out.push(':');
                    value.write_to(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(points: impl Iterator<Item = u32>, out: &mut String) {
    out.push('"');
    for point in points {
        match char::from_u32(point) {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some(c) if c >= ' ' => out.push(c),
            _ => write!(out, "\\u{point:04x}").unwrap(),
        }
    }
    out.push('"');
}

pub fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at < reader.bytes.len() {
        return Err(reader.wrong("the end"));
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn wrong(&self, expected: &str) -> String {
        format!("expected {expected} at byte {} of the line", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.wrong(word))
    }

    fn value(&mut self) -> Result<Json, String> {
        self.space();
        self.depth += 1;
        if self.depth > 200 {
            return Err(self.wrong("less depth"));
        }
        let value = match self.peek() {
            Some(b'n') => self.take("null").map(|()| Json::Null),
            Some(b't') => self.take("true").map(|()| Json::Bool(true)),
            Some(b'f') => self.take("false").map(|()| Json::Bool(false)),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'[') => self.list(),
            Some(b'{') => self.object(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong("a value")),
        };
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Result<Json, String> {
        self.take("[")?;
        let mut items = vec![];
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Json::List(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        self.take("{")?;
        let mut fields = vec![];
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = Json::Text(self.string()?).as_text().unwrap();
            self.space();
            self.take(":")?;
            fields.push((name, self.value()?));
            self.space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(Json::Object(fields));
            }
            self.take(",")?;
        }
    }

    fn digits(&mut self) -> Result<(), String> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(String::from_utf8(self.bytes[start..self.at].to_vec()).unwrap()))
    }

    fn four_hex(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(|| self.wrong("4 digits"))?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.wrong("4 hexadecimal digits"));
        }
        let value = u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        self.at += 4;
        Ok(value)
    }

    fn string(&mut self) -> Result<Vec<u32>, String> {
        self.take("\"")?;
        let mut points: Vec<u32> = vec![];
        loop {
            match self.peek() {
                None | Some(0..=0x1f) => return Err(self.wrong("the end of a string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(points);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escape = self.peek().ok_or_else(|| self.wrong("an escape"))?;
                    self.at += 1;
                    let point = match escape {
                        b'"' | b'\\' | b'/' => escape as u32,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => 10,
                        b'r' => 13,
                        b't' => 9,
                        b'u' => {
                            let first = self.four_hex()?;
                            let pair = (0xd800..0xdc00).contains(&first)
                                && self.bytes[self.at..].starts_with(b"\\u");
                            if pair {
                                let back = self.at;
                                self.at += 2;
                                let second = self.four_hex()?;
                                if (0xdc00..0xe000).contains(&second) {
                                    0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                                } else {
                                    self.at = back;
                                    first
                                }
                            } else {
                                first
                            }
                        }
                        _ => return Err(self.wrong("an escape")),
                    };
                    points.push(point);
                }
                Some(_) => {
                    let rest = &self.bytes[self.at..];
                    let run = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
                    let run = &rest[..run.unwrap_or(rest.len())];
                    // the bytes are those of a str, and the run ends at an ASCII character
                    points.extend(std::str::from_utf8(run).unwrap().chars().map(|c| c as u32));
                    self.at += run.len();
                }
            }
        }
    }
}
