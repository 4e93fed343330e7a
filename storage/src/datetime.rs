//! Moments: RFC 3339 text and microseconds since 1970.
//!
//! Days are counted as in Howard Hinnant, "chrono-compatible low-level date algorithms" (2013): years begin in March, so that
//! the leap day is their last.

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 moment: `2024-05-01T12:30:00Z`, `2024-05-01T14:30:00.25+02:00`.
/// A date alone, `2024-05-01`, is its first moment in UTC; a space may stand for the `T`. Digits beyond microseconds are
/// cut off, and second 60 is the first of the next minute. `None` for anything else.
pub fn parse_datetime(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, time) = bytes.split_at_checked(10)?;
    let days = parse_date(date)?;
    let Some((b'T' | b't' | b' ', time)) = time.split_first() else {
        return time.is_empty().then_some(days * DAY);
    };
    let (clock, rest) = time.split_at_checked(8)?;
    let (hour, minute) = (number(clock.get(..2)?)?, number(clock.get(3..5)?)?);
    let second = number(clock.get(6..8)?)?;
    if clock[2] != b':' || clock[5] != b':' || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = parse_fraction(rest)?;
    let offset = parse_zone(zone)?;
    let seconds = hour * 3_600 + minute * 60 + second - offset;
    Some(days * DAY + seconds * SECOND + fraction)
}

/// A moment as RFC 3339 in UTC, with as many digits of a second as it has: `2024-05-01T12:30:00Z`. Years that RFC 3339 cannot
/// write have more digits, or a sign.
pub fn format_datetime(microseconds: i64) -> String {
    let (days, rest) = (microseconds.div_euclid(DAY), microseconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (rest / SECOND, rest % SECOND);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// `2024-05-01` in days since 1970.
fn parse_date(date: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else {
        return None;
    };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let most = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=most).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// `.25` in microseconds, and what follows.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(length);
    let kept = digits.get(..length.min(6)).filter(|kept| !kept.is_empty())?;
    let missing = 6_u32.saturating_sub(u32::try_from(kept.len()).ok()?);
    Some((number(kept)? * 10_i64.pow(missing), rest))
}

/// `Z` or `+02:00` in seconds.
fn parse_zone(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (number(&[h0, h1])?, number(&[m0, m1])?);
            let offset = (hours <= 23 && minutes <= 59).then_some(hours * 3_600 + minutes * 60)?;
            Some(if sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read() {
        for (text, microseconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01", 0),
            ("1970-01-01 00:00:01z", 1_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2024-05-01T14:30:00.25+02:00", 1_714_566_600_250_000),
            ("2024-05-01T12:29:60.25-00:00", 1_714_566_600_250_000),
            ("1985-04-12T23:20:50.5299999999Z", 482_196_050_529_999),
            ("0000-01-01", -62_167_219_200_000_000),
        ] {
            assert_eq!(parse_datetime(text), Some(microseconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2024",
            "2024-05",
            "2024-5-1",
            "2024-13-01",
            "2023-02-29",
            "1900-02-29",
            "2024-04-31",
            "2024-05-00",
            "2024-05-01T",
            "2024-05-01T12:30Z",
            "2024-05-01T12:30:00",
            "2024-05-01T24:00:00Z",
            "2024-05-01T12:60:00Z",
            "2024-05-01T12:30:61Z",
            "2024-05-01T12:30:00.Z",
            "2024-05-01T12:30:00+0200",
            "2024-05-01T12:30:00+24:00",
            "2024-05-01T12-30-00Z",
            "+024-05-01",
            "2024-05-01T12:30:00Zé",
            "ééééé",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(moment in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse_datetime(&format_datetime(moment)), Some(moment));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), moment in any::<i64>()) {
            parse_datetime(&text);
            format_datetime(moment);
        }

        #[test]
        fn one_more_microsecond_is_later(moment in -62_167_219_200_000_000_i64..253_402_300_700_000_000) {
            prop_assert!(format_datetime(moment) != format_datetime(moment + 1));
        }
    }
}
