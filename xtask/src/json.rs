//! A parser of JSON, for the output of cargo and rustdoc. With it this program depends on nothing, and builds in a moment.

use std::collections::BTreeMap;

/// A value.
pub enum Json {
    Null,
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

static NULL: Json = Json::Null;

impl Json {
    /// Parses a text that is one value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value()?;
        if parser.peek() == b'\0' { Ok(value) } else { Err(parser.error("the end")) }
    }

    /// Returns the value under a path of keys, `a.b.c`; null if there is none.
    pub fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, |value, key| value.fields().and_then(|f| f.get(key)).unwrap_or(&NULL))
    }

    /// Returns the fields of an object.
    pub fn fields(&self) -> Option<&BTreeMap<String, Json>> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    /// Returns the only field of an object, as rustdoc writes an enum.
    pub fn only(&self) -> Option<(&str, &Json)> {
        self.fields()?.iter().next().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the values of a list.
    pub fn list(&self) -> &[Json] {
        if let Self::List(list) = self { list } else { &[] }
    }

    /// Returns the text of a string or of a number.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) | Self::Number(text) = self { Some(text) } else { None }
    }

    pub fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    /// Returns the next byte that is no space; zero at the end.
    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn error(&self, wanted: &str) -> String {
        format!("JSON: byte {} is not {wanted}", self.at)
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        if found { Ok(()) } else { Err(self.error(&format!("`{}`", char::from(byte)))) }
    }

    fn value(&mut self) -> Result<Json, String> {
        match self.peek() {
            b'{' => {
                let mut fields = BTreeMap::new();
                self.items(b'{', b'}', |parser| {
                    let key = parser.string()?;
                    parser.take(b':')?;
                    fields.insert(key, parser.value()?);
                    Ok(())
                })?;
                Ok(Json::Object(fields))
            }
            b'[' => {
                let mut list = Vec::new();
                self.items(b'[', b']', |parser| parser.value().map(|value| list.push(value)))?;
                Ok(Json::List(list))
            }
            b'"' => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    /// Parses the items between two brackets.
    fn items(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.take(open)?;
        if self.peek() != close {
            item(self)?;
            while self.peek() == b',' {
                self.take(b',')?;
                item(self)?;
            }
        }
        self.take(close)
    }

    fn word(&mut self) -> Result<Json, String> {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\n']).unwrap_or(rest.len());
        self.at += end;
        match &rest[..end] {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            number if number.parse::<f64>().is_ok() => Ok(Json::Number(number.to_owned())),
            _ => Err(self.error("the end of a value")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(['"', '\\']).ok_or_else(|| self.error("a string with an end"))?;
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if rest[end..].starts_with('"') {
                return Ok(text);
            }
            text.push(self.escape()?);
        }
    }

    /// Parses the rest of an escape, behind its backslash. Half of a pair of UTF-16 becomes the character for the unknown.
    fn escape(&mut self) -> Result<char, String> {
        let sign = self.text[self.at..].chars().next().ok_or_else(|| self.error("an escape"))?;
        self.at += sign.len_utf8();
        if sign != 'u' {
            return Ok(match sign {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                other => other,
            });
        }
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.error("four digits"))?;
        let code = u32::from_str_radix(digits, 16).map_err(|_| self.error("four digits"))?;
        self.at += 4;
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}
