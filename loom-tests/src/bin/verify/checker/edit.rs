//! Edits on a source text that fail when the text is not the one that they were written for.

use std::path::{Path, PathBuf};

/// One file of a package under correction.
pub struct Edit<'s> {
    name: &'s Path,
    text: String,
}

impl<'s> Edit<'s> {
    /// Takes up the file `name` of the package.
    pub fn of(sources: &'s [(PathBuf, Vec<u8>)], name: &str) -> Result<Self, String> {
        let (name, bytes) = sources
            .iter()
            .find(|(path, _)| path == Path::new(name))
            .ok_or(format!("the package has no file {name}"))?;
        let text = String::from_utf8(bytes.clone()).map_err(|e| format!("{}: {e}", name.display()))?;
        Ok(Self { name, text })
    }

    /// Replaces every occurrence of `old`, of which there must be exactly `times`.
    pub fn replace(mut self, old: &str, times: usize, new: &str) -> Result<Self, String> {
        let found = self.text.matches(old).count();
        if found != times {
            return Err(self.missing(old, &format!("stands there {found} times, not {times}")));
        }
        self.text = self.text.replace(old, new);
        Ok(self)
    }

    /// Replaces a whole function, from its signature's first word to the brace that ends its body. The signature must
    /// stand there once.
    pub fn function(mut self, signature: &str, new: &str) -> Result<Self, String> {
        if self.text.matches(signature).count() != 1 {
            return Err(self.missing(signature, "does not stand there exactly once"));
        }
        let from = self.text.find(signature).unwrap_or_default();
        let mut depth = 0_usize;
        let mut end = None;
        for (at, byte) in self.text.bytes().enumerate().skip(from) {
            match byte {
                b'{' => depth += 1,
                b'}' if depth <= 1 => {
                    end = Some(at + 1);
                    break;
                }
                b'}' => depth -= 1,
                _ => {}
            }
        }
        let end = end.ok_or_else(|| self.missing(signature, "has no end"))?;
        self.text.replace_range(from..end, new.trim());
        Ok(self)
    }

    /// Adds to the end.
    pub fn append(mut self, new: &str) -> Self {
        self.text.push_str(new);
        self
    }

    /// Returns the file and its corrected text.
    pub fn done(self) -> (PathBuf, Vec<u8>) {
        (self.name.to_path_buf(), self.text.into_bytes())
    }

    fn missing(&self, what: &str, how: &str) -> String {
        format!(
            "loom's {}: `{what}` {how}; the source is not the one that the corrections were written for",
            self.name.display()
        )
    }
}
