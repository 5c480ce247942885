//! The textual form of a key or value, the same wherever one is read or written.
//!
//! Bytes that are valid UTF-8 are text; all others are `{"b64": ".."}` with standard base64. In
//! JSON the two are a string and an object, so nothing is ambiguous. In a cell (an argument, a
//! field of CSV or TSV, a table), where everything is text, what starts with `{"b64"` is always
//! the object; text that happens to start so is written as the object too.
//!
//! # Invariants
//! 1. `parse(write(bytes)) == bytes` for any bytes, in JSON as well as in a cell.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

/// How a cell that holds bytes starts.
const B64_HEAD: &str = r#"{"b64""#;

/// A key or value as read from JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datum<'a>(pub(crate) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Datum<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DatumVisitor)
    }
}

struct DatumVisitor;

impl<'de> Visitor<'de> for DatumVisitor {
    type Value = Datum<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a string or {"b64": ".."}"#)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Datum(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Datum(Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let expected = || de::Error::custom(r#"bytes are written {"b64": ".."}"#);
        let name: Cow<'de, str> = map.next_key()?.ok_or_else(expected)?;
        if name != "b64" {
            return Err(expected());
        }
        let text: Cow<'de, str> = map.next_value()?;
        let bytes = BASE64_STANDARD.decode(&*text).map_err(|e| de::Error::custom(base64(&e)))?;
        if map.next_key::<Cow<'de, str>>()?.is_some() {
            return Err(expected());
        }
        Ok(Datum(Cow::Owned(bytes)))
    }
}

fn base64(error: &dyn fmt::Display) -> String {
    format!("the b64 is not standard base64: {error}")
}

/// Writes `bytes` as JSON.
pub(crate) fn write_json(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::to_writer(out, text).map_err(io::Error::from),
        Err(_) => write!(out, r#"{{"b64":"{}"}}"#, BASE64_STANDARD.encode(bytes)),
    }
}

/// `bytes` as a cell.
pub(crate) fn to_cell(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(B64_HEAD) => Cow::Borrowed(text),
        _ => Cow::Owned(format!(r#"{{"b64":"{}"}}"#, BASE64_STANDARD.encode(bytes))),
    }
}

/// The bytes that a cell stands for; `Err` says what is wrong with it.
pub(crate) fn from_cell(cell: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !cell.starts_with(B64_HEAD.as_bytes()) {
        return Ok(Cow::Borrowed(cell));
    }
    let datum: Datum<'_> = serde_json::from_slice(cell)
        .map_err(|e| format!(r#"what starts with {B64_HEAD} is {{"b64": ".."}}: {e}"#))?;
    Ok(datum.0)
}

/// Bytes given as an argument of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArgBytes(pub(crate) Vec<u8>);

impl ArgBytes {
    /// Parses an argument, which need not be UTF-8.
    pub(crate) fn parse(arg: &std::ffi::OsStr) -> Result<Self, String> {
        from_cell(arg.as_encoded_bytes()).map(|bytes| Self(bytes.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
        all.extend([
            vec![],
            b"plain text".to_vec(),
            "gr\u{fc}n \u{1f600} \u{0} \u{7f}".as_bytes().to_vec(),
            b"tab\tnewline\nquote\"backslash\\".to_vec(),
            br#"{"b64":"AAAA"}"#.to_vec(),
            br#"{"b64"#.to_vec(),
            vec![0xff, 0x00, 0xfe, b'"'],
            vec![0xed, 0xa0, 0x80], // a lone surrogate
        ]);
        all
    }

    #[test]
    fn any_bytes_go_round_through_json() {
        for bytes in samples() {
            let mut json = vec![];
            write_json(&mut json, &bytes).unwrap();
            let back: Datum<'_> = serde_json::from_slice(&json).unwrap();
            assert_eq!(*back.0, *bytes, "{}", String::from_utf8_lossy(&json)); // I1
            assert_eq!(json[0] == b'"', std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn any_bytes_go_round_through_a_cell() {
        for bytes in samples() {
            let cell = to_cell(&bytes);
            assert_eq!(*from_cell(cell.as_bytes()).unwrap(), *bytes, "{cell}"); // I1
        }
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        let datum: Datum<'_> = serde_json::from_str(r#""abc""#).unwrap();
        assert!(matches!(datum.0, Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_datum_is_refused() {
        for bad in [
            "7",
            "null",
            "[]",
            "{}",
            r#"{"b65":"AA=="}"#,
            r#"{"b64":7}"#,
            r#"{"b64":"A"}"#,
            r#"{"b64":"!!!!"}"#,
            r#"{"b64":"AA==","b64":"AA=="}"#,
            r#""open"#,
        ] {
            assert!(serde_json::from_str::<Datum<'_>>(bad).is_err(), "{bad}");
        }
        assert!(from_cell(br#"{"b64":"AA=="} "#).is_ok());
        assert!(from_cell(br#"{"b64":"AA=="} x"#).is_err());
        assert!(from_cell(br#"{"b64""#).is_err());
    }
}
