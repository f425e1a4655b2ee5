//! Sizes as people write them: `64MiB`, `1GiB`, `500KB`, `1048576`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::limits::{GIB, KIB, MIB};

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("a number of bytes is expected, such as 64MiB or 1048576")]
    NoNumber,
    #[error("whole numbers are expected: take a smaller unit, such as 1536MiB for 1.5GiB")]
    NotWhole,
    #[error("the unit `{0}` is unknown: B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (of 1024) are known")]
    Unit(String),
    #[error("more than 2^64 - 1 bytes")]
    TooLarge,
}

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
    ("TiB", GIB * KIB),
];

/// Bytes. One blank may stand before the unit, whose letters are exact: `mb` could mean either.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(SizeError::NoNumber);
    }
    if unit.starts_with('.') {
        return Err(SizeError::NotWhole);
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(SizeError::Unit(unit.chars().take(16).collect()));
    };
    let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
    number.checked_mul(*factor).ok_or(SizeError::TooLarge)
}

/// The unit that was probably meant.
pub fn unit_near(unit: &str) -> Option<&'static str> {
    let word = unit.trim().to_ascii_uppercase();
    UNITS.iter().rev().map(|(name, _)| *name).filter(|name| !name.is_empty()).find(|name| {
        let name = name.to_ascii_uppercase();
        name == word || name.strip_suffix("IB") == Some(&word)
    })
}

/// Bytes, read from a number or from a text such as `64MiB`, written as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a size such as `64MiB`")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                parse_size(text).map(Size).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1000_and_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("2TiB", 2 << 40),
            ("500KB", 500_000),
            ("3GB", 3_000_000_000),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_the_reason() {
        for (text, error) in [
            ("", SizeError::NoNumber),
            ("MiB", SizeError::NoNumber),
            ("-1", SizeError::NoNumber),
            ("1.5GiB", SizeError::NotWhole),
            ("64mib", SizeError::Unit("mib".into())),
            ("64M", SizeError::Unit("M".into())),
            ("1_000", SizeError::Unit("_000".into())),
            ("64  MiB", SizeError::Unit(" MiB".into())),
            ("99999999999999999999", SizeError::TooLarge),
            ("18446744073709551615KiB", SizeError::TooLarge),
        ] {
            assert_eq!(parse_size(text), Err(error), "{text}");
        }
        assert_eq!(unit_near("mib"), Some("MiB"));
        assert_eq!(unit_near("M"), Some("MiB"));
        assert_eq!(unit_near("gb"), Some("GB"));
        assert_eq!(unit_near("x"), None);
    }
}
