//! The one row form, in and out: `{"key": .., "val": .., "ts": n, "diff": n}` on a line.
//!
//! Integers from 2^53 on are written as decimal strings, because many readers of JSON keep numbers
//! as doubles; both forms are read at any size.
//!
//! # Invariants
//! 1. A row that was written reads back as the same update, whatever its bytes and numbers.

use crate::datum::{self, Datum};
use datestone::{Frontier, Update};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{self, Write};

/// Integers up to here (exclusive) are exact in a double.
const EXACT_END: u64 = 1 << 53;

/// One line of input.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row<'a> {
    /// The key.
    #[serde(borrow)]
    pub(crate) key: Datum<'a>,
    /// The value.
    #[serde(borrow)]
    pub(crate) val: Datum<'a>,
    /// The time from which the change holds.
    pub(crate) ts: Ts,
    /// The change of multiplicity.
    pub(crate) diff: Diff,
}

impl Row<'_> {
    /// The row as the update that it stands for.
    pub(crate) fn update(&self) -> Update<'_> {
        Update { key: &self.key.0, val: &self.val.0, ts: self.ts.0, diff: self.diff.0 }
    }
}

/// Writes `update` as a line.
pub(crate) fn write(out: &mut impl Write, update: Update<'_>) -> io::Result<()> {
    out.write_all(b"{\"key\":")?;
    datum::write_json(out, update.key)?;
    out.write_all(b",\"val\":")?;
    datum::write_json(out, update.val)?;
    out.write_all(b",\"ts\":")?;
    write_int(out, i128::from(update.ts))?;
    out.write_all(b",\"diff\":")?;
    write_int(out, i128::from(update.diff))?;
    out.write_all(b"}\n")
}

/// Writes an integer as JSON: as a string when a double cannot hold it.
pub(crate) fn write_int(out: &mut impl Write, int: i128) -> io::Result<()> {
    if int.unsigned_abs() < u128::from(EXACT_END) {
        write!(out, "{int}")
    } else {
        write!(out, "\"{int}\"")
    }
}

/// A frontier as JSON: its timestamp, or `"closed"`.
pub(crate) fn frontier_json(frontier: Frontier) -> String {
    match frontier.ts() {
        Some(ts) if ts < EXACT_END => ts.to_string(),
        _ => format!("\"{frontier}\""),
    }
}

/// The first byte, from 0, of a field's value within a line that was read as a [`Row`] before.
pub(crate) fn offset_of(line: &[u8], field: Field) -> Option<usize> {
    #[derive(serde::Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        key: &'a RawValue,
        #[serde(borrow)]
        val: &'a RawValue,
        #[serde(borrow)]
        ts: &'a RawValue,
    }
    let raw: Raw<'_> = serde_json::from_slice(line).ok()?;
    let value = match field {
        Field::Key => raw.key,
        Field::Val => raw.val,
        Field::Ts => raw.ts,
    };
    value.get().as_ptr().addr().checked_sub(line.as_ptr().addr())
}

/// A field of a row that may be at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `key`
    Key,
    /// `val`
    Val,
    /// `ts`
    Ts,
}

/// A timestamp in JSON: a number, or a string of decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ts(pub(crate) u64);

/// A multiplicity in JSON: a number, or a string of decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diff(pub(crate) i64);

/// A frontier in JSON: a timestamp, or `"closed"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At(pub(crate) Frontier);

/// Parses the decimal text of a timestamp: digits only.
pub(crate) fn parse_ts(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let ts = if digits { text.parse().ok() } else { None };
    ts.ok_or_else(|| format!("a ts is a whole number from 0 to 2^64-1, not '{text}'"))
}

/// Parses the decimal text of a multiplicity: digits with an optional minus.
pub(crate) fn parse_diff(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let diff = if plain { text.parse().ok() } else { None };
    diff.ok_or_else(|| format!("a diff is a whole number from -2^63 to 2^63-1, not '{text}'"))
}

/// Reads a number or a string, and hands its decimal text or value on.
struct IntVisitor<T> {
    what: &'static str,
    of_u64: fn(u64) -> Option<T>,
    of_i64: fn(i64) -> Option<T>,
    of_text: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for IntVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_u64<E: de::Error>(self, int: u64) -> Result<T, E> {
        (self.of_u64)(int).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(int), &self))
    }

    fn visit_i64<E: de::Error>(self, int: i64) -> Result<T, E> {
        (self.of_i64)(int).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(int), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.of_text)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Ts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = IntVisitor {
            what: "a ts: a whole number from 0 to 2^64-1",
            of_u64: Some,
            of_i64: |_| None,
            of_text: parse_ts,
        };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Diff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = IntVisitor {
            what: "a diff: a whole number from -2^63 to 2^63-1",
            of_u64: |int| i64::try_from(int).ok(),
            of_i64: Some,
            of_text: parse_diff,
        };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = IntVisitor {
            what: "a frontier: a ts or \"closed\"",
            of_u64: |int| Some(Frontier::at(int)),
            of_i64: |_| None,
            of_text: |text| match text {
                "closed" => Ok(Frontier::CLOSED),
                _ => parse_ts(text).map(Frontier::at),
            },
        };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(update: Update<'_>) -> String {
        let mut out = vec![];
        write(&mut out, update).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_go_round_at_the_limits() {
        let times = [0, 1, EXACT_END - 1, EXACT_END, u64::MAX];
        let diffs = [i64::MIN, -(1 << 53), -(1 << 53) + 1, -1, 0, 1, (1 << 53) - 1, i64::MAX];
        for ts in times {
            for diff in diffs {
                let update = Update { key: b"k\xff", val: "v\u{e4}\n".as_bytes(), ts, diff };
                let line = line(update);
                let row: Row<'_> = serde_json::from_str(&line).unwrap();
                assert_eq!(row.update(), update, "{line}"); // I1
            }
        }
    }

    #[test]
    fn integers_beyond_doubles_are_strings() {
        let update = Update { key: b"a", val: b"", ts: EXACT_END, diff: -(1 << 53) };
        assert_eq!(
            line(update),
            "{\"key\":\"a\",\"val\":\"\",\"ts\":\"9007199254740992\",\"diff\":\"-9007199254740992\"}\n"
        );
        let update = Update { ts: EXACT_END - 1, diff: 1, ..update };
        assert_eq!(
            line(update),
            "{\"key\":\"a\",\"val\":\"\",\"ts\":9007199254740991,\"diff\":1}\n"
        );
        assert_eq!(frontier_json(Frontier::at(7)), "7");
        assert_eq!(frontier_json(Frontier::at(u64::MAX)), "\"18446744073709551615\"");
        assert_eq!(frontier_json(Frontier::CLOSED), "\"closed\"");
    }

    #[test]
    fn what_is_no_row_is_refused_at_its_column() {
        let cases = [
            (r#"{"key":"a","val":"b","ts":1}"#, 28, "missing field `diff`"),
            (r#"{"key":"a","val":"b","ts":-1,"diff":1}"#, 28, "a ts: a whole number"),
            (r#"{"key":"a","val":"b","ts":1.5,"diff":1}"#, 29, "a ts: a whole number"),
            (r#"{"key":"a","val":"b","ts":"+1","diff":1}"#, 30, "not '+1'"),
            (r#"{"key":"a","val":"b","ts":1,"diff":"1e3"}"#, 40, "not '1e3'"),
            (r#"{"key":"a","val":"b","ts":1,"diff":9223372036854775808}"#, 54, "a diff:"),
            (r#"{"key":"a","val":"b","ts":1,"diff":1,"x":1}"#, 40, "unknown field `x`"),
            (r#"{"key":"a","key":"b","val":"b","ts":1,"diff":1}"#, 16, "duplicate field `key`"),
            (r#"{"key":7,"val":"b","ts":1,"diff":1}"#, 8, "a string or"),
            (r#"{"key":"a","val":"b","ts":1,"diff":1} x"#, 39, "trailing characters"),
            ("", 0, "EOF"),
        ];
        for (line, column, what) in cases {
            let error = serde_json::from_slice::<Row<'_>>(line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(what), "{line}: {error}");
            assert_eq!(error.column(), column, "{line}: {error}");
        }
    }

    #[test]
    fn a_field_is_found_in_its_line() {
        let line = br#"{"val": "\"ts\": 1", "key": "k", "ts": 12, "diff": 1}"#;
        let ts = offset_of(line, Field::Ts).unwrap();
        assert!(line[ts..].starts_with(b"12"));
        let key = offset_of(line, Field::Key).unwrap();
        assert!(line[key..].starts_with(br#""k""#));
    }

    #[test]
    fn numbers_in_text_are_digits_only() {
        assert_eq!(parse_ts("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_diff("-9223372036854775808"), Ok(i64::MIN));
        for bad in ["", "+1", " 1", "1 ", "0x1", "18446744073709551616"] {
            assert!(parse_ts(bad).is_err(), "{bad}");
        }
        for bad in ["", "-", "--1", "+1", "9223372036854775808"] {
            assert!(parse_diff(bad).is_err(), "{bad}");
        }
    }
}
