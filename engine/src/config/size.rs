//! Sizes as text: `64MiB`, `1GiB`, `4096`.

/// The units that a size may have, largest first. Powers of 1024 only, so that a size means the
/// same to everybody.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// The bytes that a size stands for: digits with or without one of the units `KiB`, `MiB`, `GiB`
/// and `TiB`. `None` for everything else, and beyond 64 bits.
///
/// ```
/// use datestone_engine::config::parse_size;
/// assert_eq!(parse_size("64MiB"), Some(64 << 20));
/// assert_eq!(parse_size("4096"), Some(4096));
/// assert_eq!(parse_size("64MB"), None);
/// ```
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(1 << shift)
}

/// A size as text that [`parse_size`] reads back, in the largest unit that leaves no fraction.
///
/// ```
/// use datestone_engine::config::display_size;
/// assert_eq!(display_size(64 << 20), "64MiB");
/// assert_eq!(display_size(1000), "1000");
/// ```
#[must_use]
pub fn display_size(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}
