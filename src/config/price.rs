//! What an instance costs an hour at list price, from a small table that is shipped with Setpoint.
//!
//! The table says where its figures are from and of which day. It grows old: what an owner states takes its place.

use crate::policy::Capacity;

const TABLE: &str = include_str!("prices.csv");

/// The price of an hour of `instance_type` in `region`, on demand with Linux, in US dollars; `None` where the table has
/// none.
pub(super) fn of(instance_type: &str, region: &str) -> Option<f64> {
    let (family, size) = instance_type.split_once('.')?;
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(','));
    let mut of_family = rows.filter_map(|mut cells| {
        let named = cells.next()? == region && cells.next()? == family;
        let price: f64 = cells.next()?.parse().ok()?;
        named.then_some((price, factor(cells.next()?)?, factor(cells.next()?)?))
    });
    let (price, smallest, largest) = of_family.next()?;
    let factor = factor(size).filter(|factor| (smallest..=largest).contains(factor))?;
    Some(price * factor)
}

/// How many times `large` this size is.
fn factor(size: &str) -> Option<f64> {
    match size {
        "nano" => Some(1.0 / 16.0),
        "micro" => Some(1.0 / 8.0),
        "small" => Some(1.0 / 4.0),
        "medium" => Some(1.0 / 2.0),
        "large" => Some(1.0),
        "xlarge" => Some(2.0),
        _ => {
            let times = size.strip_suffix("xlarge")?.parse().ok()?;
            [2, 4, 8, 9, 12, 16, 18, 24, 32, 48, 64, 96].contains(&times).then(|| 2.0 * Capacity::new(times).as_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_a_family_goes_with_the_size() {
        let check = |instance_type, price: f64| {
            let found = of(instance_type, "us-east-1").unwrap_or_else(|| panic!("{instance_type} has no price"));
            assert!((found - price).abs() < 1e-4, "{instance_type}: {found}");
        };
        check("t3.nano", 0.0052);
        check("t4g.small", 0.0168);
        check("m5.24xlarge", 4.608);
        check("c7g.medium", 0.0363);
        check("m7i-flex.2xlarge", 0.383_04);
        check("r6a.48xlarge", 10.8864);
        assert_eq!(of("m7g.xlarge", "us-east-1"), of("m7g.large", "us-east-1").map(|price| 2.0 * price));
    }

    #[test]
    fn nothing_is_guessed() {
        for (instance_type, region) in [
            ("m5.large", "eu-west-1"),
            ("m5.large", ""),
            ("m5", "us-east-1"),
            ("m5.medium", "us-east-1"),
            ("m5.metal", "us-east-1"),
            ("m5.", "us-east-1"),
            ("m5.xxlarge", "us-east-1"),
            ("m5.0xlarge", "us-east-1"),
            ("m5.3xlarge", "us-east-1"),
            ("m5.96xlarge", "us-east-1"),
            ("# region.large", "us-east-1"),
            ("x9.large", "us-east-1"),
        ] {
            assert_eq!(of(instance_type, region), None, "{instance_type} in {region}");
        }
    }

    #[test]
    fn every_row_is_sound() {
        let rows: Vec<Vec<&str>> =
            TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(',').collect()).collect();
        assert!(rows.len() > 30);
        for row in &rows {
            let [region, family, _, smallest, largest] = row[..] else { panic!("{row:?}") };
            for size in [smallest, largest] {
                let price = of(&format!("{family}.{size}"), region);
                assert!(price.is_some_and(|price| (0.001..30.0).contains(&price)), "{row:?}");
            }
            assert_eq!(rows.iter().filter(|other| other[..2] == row[..2]).count(), 1, "{row:?} stands twice");
        }
    }
}
