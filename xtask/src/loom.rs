//! The models of core.

/// Runs the models.
pub fn run(_args: &[String]) -> Result<(), String> {
    Err("no models yet".to_owned())
}
