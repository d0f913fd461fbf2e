//! Kubernetes quantities: a number with a decimal or binary suffix.

const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The number that `text` stands for, if it is one: `500m` is 0.5, `1Gi` is 1073741824, `1e3` is 1000.
pub(super) fn parse(text: &str) -> Option<f64> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    number(text).or_else(|| {
        let (digits, factor) = SUFFIXES.iter().find_map(|(suffix, f)| Some((text.strip_suffix(suffix)?, f)))?;
        Some(number(digits)? * factor)
    })
}

#[test]
fn a_quantity_is_read_as_kubernetes_reads_it() {
    for (text, expected) in [
        ("500m", Some(0.5)),
        ("1Gi", Some(1_073_741_824.0)),
        ("2k", Some(2000.0)),
        ("1e3", Some(1000.0)),
        ("0.25", Some(0.25)),
        ("7E", Some(7e18)),
        ("ten", None),
        ("inf", None),
        ("5 m", None),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
}
