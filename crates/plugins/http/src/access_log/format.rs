//! What a line of the access log looks like.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Version};
use serde_json::{Value, json};

use super::Line;

/// The combined format of other servers, then seconds, request id and outcome:
/// `192.0.2.1 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8" 0.001204 id ok`.
pub(super) fn text(line: &Line, out: &mut Vec<u8>) {
    let entry = &line.entry;
    let date = Civil::from(entry.time);
    let start = format_args!(
        "{} - - [{:02}/{}/{}:{:02}:{:02}:{:02} +0000] \"",
        entry.client,
        date.day,
        MONTHS[date.month as usize - 1],
        date.year,
        date.hour,
        date.minute,
        date.second
    )
    .to_string();
    out.extend_from_slice(start.as_bytes());
    push_escaped(out, entry.method.as_str().as_bytes());
    out.push(b' ');
    push_escaped(out, entry.uri.path().as_bytes());
    out.extend_from_slice(
        format!(" {}\" {} {} \"", version(entry.version), line.status, line.sent).as_bytes(),
    );
    push_escaped(out, referer(entry.referer.as_ref()));
    out.extend_from_slice(b"\" \"");
    push_escaped(out, entry.user_agent.as_ref().map_or(b"-", HeaderValue::as_bytes));
    out.extend_from_slice(
        format!("\" {:.6} {} {}\n", line.took.as_secs_f64(), entry.id, line.outcome).as_bytes(),
    );
}

/// One object.
pub(super) fn json(line: &Line, out: &mut Vec<u8>) {
    let entry = &line.entry;
    let date = Civil::from(entry.time);
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let object = json!({
        "time": format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year, date.month, date.day, date.hour, date.minute, date.second, date.millisecond
        ),
        "client": entry.client.to_string(),
        "method": entry.method.as_str(),
        "path": entry.uri.path(),
        "protocol": version(entry.version),
        "status": line.status,
        "bytes": line.sent,
        "seconds": line.took.as_secs_f64(),
        "referer": entry.referer.as_ref().map(|_| text(referer(entry.referer.as_ref()))),
        "user_agent": entry.user_agent.as_ref().map(|agent| text(agent.as_bytes())),
        "id": entry.id.as_str(),
        "outcome": line.outcome,
    });
    // Writing to memory does not fail.
    let _written = writeln!(out, "{object}");
}

/// Without its query, which may hold secrets.
fn referer(value: Option<&HeaderValue>) -> &[u8] {
    let bytes = value.map_or(&b"-"[..], HeaderValue::as_bytes);
    bytes.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(bytes)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// A line stays one line, and a field one field, whatever a client sends.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in UTC, as people count.
struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    millisecond: u32,
}

impl From<SystemTime> for Civil {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (since.as_secs() / 86_400, (since.as_secs() % 86_400) as u32);
        // Days since 1 March of year 0, in eras of 400 years: leap days then come last.
        let shifted = days as i64 + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            millisecond: since.subsec_millis(),
        }
    }
}
