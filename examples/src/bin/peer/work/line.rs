//! A result.

/// One line of JSON.
pub fn line(bench: &str, fields: &[(&str, f64)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value:.3}")).collect();
    println!("{{\"bench\":\"{bench}\"{fields}}}");
}
