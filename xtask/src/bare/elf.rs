//! The size of a program on the chip, from the section headers of its file.

use std::path::Path;

/// The size of a program on the chip, in bytes.
pub struct Sizes {
    /// Code, constants, and the initial values of RAM.
    pub flash: u32,
    /// Statics; the stack comes on top.
    pub ram: u32,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flash {} bytes, RAM {} bytes", self.flash, self.ram)
    }
}

/// Adds up the section headers of a 32-bit little-endian ELF file.
pub fn sizes(image: &Path) -> Result<Sizes, String> {
    let bytes = std::fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    parse(&bytes).ok_or_else(|| format!("{}: not a 32-bit little-endian ELF file", image.display()))
}

fn parse(bytes: &[u8]) -> Option<Sizes> {
    const NOBITS: u32 = 8;
    const WRITE: u32 = 1;
    const ALLOC: u32 = 2;
    if bytes.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let (table, entry, count) = (word(0x20)? as usize, half(0x2e)?, half(0x30)?);
    let mut sizes = Sizes { flash: 0, ram: 0 };
    for header in (0..count).map(|i| table + i * entry) {
        let (kind, flags, size) = (word(header + 4)?, word(header + 8)?, word(header + 20)?);
        if flags & ALLOC == 0 {
            continue;
        }
        sizes.flash += if kind == NOBITS { 0 } else { size };
        sizes.ram += if flags & WRITE == 0 { 0 } else { size };
    }
    Some(sizes)
}
