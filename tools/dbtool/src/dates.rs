//! Civil dates as Unix seconds, for data whose times are such.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Unix seconds of the first moment of a day, UTC; `None` before 1970.
pub(crate) fn day_start(date: Date) -> Option<u64> {
    let zoned = date.to_zoned(TimeZone::UTC).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok()
}

/// The day, UTC, that holds a moment given in Unix seconds.
pub(crate) fn day_of(unix_seconds: u64) -> Option<Date> {
    let timestamp = Timestamp::from_second(i64::try_from(unix_seconds).ok()?).ok()?;
    Some(timestamp.to_zoned(TimeZone::UTC).date())
}

/// A moment given in Unix seconds, UTC, as RFC 3339 writes it.
pub(crate) fn moment(unix_seconds: u64) -> String {
    let timestamp = i64::try_from(unix_seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    timestamp.map_or_else(|| unix_seconds.to_string(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn days_and_seconds() {
        assert_eq!(day_start(date(1970, 1, 1)), Some(0));
        assert_eq!(day_start(date(2019, 3, 1)), Some(1_551_398_400));
        assert_eq!(day_start(date(2024, 2, 29)), Some(1_709_164_800));
        assert_eq!(day_start(date(1969, 12, 31)), None);
        assert_eq!(day_of(1_551_398_399), Some(date(2019, 2, 28)));
        assert_eq!(day_of(1_551_398_400), Some(date(2019, 3, 1)));
        assert_eq!(day_of(u64::MAX), None);
        assert_eq!(moment(1_551_398_400), "2019-03-01T00:00:00Z");
        assert_eq!(moment(u64::MAX), u64::MAX.to_string());
    }
}
