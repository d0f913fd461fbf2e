//! Sizes in bytes with their units: `256MB`. A number without a unit is never taken for one.

/// Units from the largest to the smallest, in bytes. As the units of disks they count in thousands.
const UNITS: [(&str, u64); 3] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];

/// The bytes that `text` states; `None` unless it is a whole number with a unit.
pub(super) fn parse(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, bytes)| {
        let number = text.strip_suffix(unit)?.trim_end();
        let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        plain.then(|| number.parse::<u64>().ok()?.checked_mul(*bytes)).flatten()
    })
}

/// The text that [`parse`] reads as `bytes`, for messages.
pub(super) fn text(bytes: u64) -> String {
    let (unit, size) = UNITS.iter().find(|(_, size)| bytes >= *size).unwrap_or(&("MB", 1_000_000));
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        let check = |text, expected| assert_eq!(parse(text), expected, "{text:?}");
        check("256MB", Some(256_000_000));
        check("16 MB", Some(16_000_000));
        check("2GB", Some(2_000_000_000));
        check("1TB", Some(1_000_000_000_000));
        for wrong in
            ["", "256", "MB", "1.5GB", "-1MB", "+1MB", "5mb", "5MiB", "99999999999999999999MB", "18446744073710TB"]
        {
            check(wrong, None);
        }
        assert_eq!(text(2_000_000_000), "2GB");
    }
}
