//! Durations and sizes as people write them: `"30s"`, `"256MiB"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A duration with its unit: `"1h30m"`, `"30s"`, `"250ms"`, `"0s"`. Units: ns, us, ms, s, m, h, d.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct HumanDuration(pub Duration);

/// A size in bytes with its unit: `"256MiB"`, `"1.5GiB"`, `"512KB"`, `"100B"`. KiB, MiB, GiB, TiB
/// are powers of 1024; KB, MB, GB, TB are powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct ByteSize(pub u64);

/// A value without its unit, or with one that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("{0:?} is not a duration; write it with its unit, as in \"30s\", \"250ms\" or \"1h\"")]
    Duration(String),
    /// Longer than anything can be meant to take.
    #[error("{0:?} is more than a hundred years")]
    TooLong(String),
    /// Not a size.
    #[error("{0:?} is not a size; write it with its unit, as in \"256MiB\" or \"512KB\"")]
    Size(String),
}

/// The longest duration: far enough, and near enough to be added to any moment.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = || UnitError::Duration(text.to_owned());
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(fail());
        }
        while !rest.is_empty() {
            let (number, unit, tail) = leading_quantity(rest).ok_or_else(fail)?;
            let seconds = number
                * match unit {
                    "ns" => 1e-9,
                    "us" | "µs" => 1e-6,
                    "ms" => 1e-3,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    "d" => 86_400.0,
                    _ => return Err(fail()),
                };
            let part = Duration::try_from_secs_f64(seconds).map_err(|_| fail())?;
            total = total.checked_add(part).ok_or_else(fail)?;
            if total > LONGEST {
                return Err(UnitError::TooLong(text.to_owned()));
            }
            rest = tail.trim_start();
        }
        Ok(Self(total))
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = || UnitError::Size(text.to_owned());
        let (number, unit, rest) = leading_quantity(text.trim()).ok_or_else(fail)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            _ => return Err(fail()),
        };
        let bytes = number * factor as f64;
        if !rest.is_empty() || !bytes.is_finite() || bytes >= u64::MAX as f64 {
            return Err(fail());
        }
        Ok(Self(bytes as u64))
    }
}

/// `"30s rest"` as number, unit and rest.
fn leading_quantity(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let number = text[..digits].replace('_', "").parse().ok()?;
    let tail = text[digits..].trim_start();
    let unit_end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
    Some((number, &tail[..unit_end], &tail[unit_end..]))
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 if self.0.is_zero() => f.write_str("0s"),
            0 => write!(f, "{}ns", self.0.as_nanos()),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (factor, unit) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

macro_rules! serde_as_text {
    ($type:ty, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl Visitor<'_> for TextVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_as_text!(HumanDuration, "a duration with its unit, as in \"30s\" or \"250ms\"");
serde_as_text!(ByteSize, "a size with its unit, as in \"256MiB\" or \"512KB\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_units_and_refuses_those_without() {
        let read = |text: &str| text.parse::<HumanDuration>().map(|d| d.0);
        assert_eq!(read("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(read("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(read("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        assert_eq!(read("36500d"), Ok(LONGEST));
        for bad in ["30", "", "s", "-1s", "1x", "1s 2", "36501d", "99999999999999999999999d"] {
            assert!(read(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn reads_sizes_with_units_and_refuses_those_without() {
        let read = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(read("256MiB"), Ok(256 << 20));
        assert_eq!(read("1.5KiB"), Ok(1536));
        assert_eq!(read("2MB"), Ok(2_000_000));
        for bad in ["256", "", "MiB", "-1B", "1XB", "1MiB 2", "99999999999TiB"] {
            assert!(read(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["30s", "250ms", "2h", "1m", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().map(|d| d.to_string()), Ok(text.to_owned()));
        }
        for text in ["256MiB", "1KiB", "7B"] {
            assert_eq!(text.parse::<ByteSize>().map(|d| d.to_string()), Ok(text.to_owned()));
        }
    }
}
