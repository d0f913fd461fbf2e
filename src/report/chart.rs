//! Series over time as SVG, with colours that a style sheet can replace.
//!
//! The drawing is by `plotters`, which writes fixed colours into attributes. A rule of a style sheet is stronger than
//! an attribute, so [`rules`] gives every [`Ink`] its colour on a dark screen and its dashes.

use std::fmt::Write;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::axis::Axis;
use super::extremes::{Point, extremes};

/// Pixels of a chart, before it is scaled to its page.
pub const SIZE: (u32, u32) = (1000, 300);

/// Pixels beside and below the drawing, for labels.
const LABELS: (u32, u32) = (70, 30);

/// Pixels around it.
const MARGIN: u32 = 12;

/// What is drawn, and so how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Axes and labels.
    Frame,
    /// Behind everything.
    Grid,
    /// The instances that the optimum has: an area.
    Needed,
    /// The desired capacity.
    Desired,
    /// Instances in service, or a signal.
    Fact,
    /// What a signal is to be kept at.
    Target,
    /// A stretch that is not to be trusted: an area.
    Doubt,
}

impl Ink {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Frame, Self::Grid, Self::Needed, Self::Desired, Self::Fact, Self::Target, Self::Doubt];

    /// The class of its key in a legend.
    pub fn class(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Grid => "grid",
            Self::Needed => "needed",
            Self::Desired => "desired",
            Self::Fact => "fact",
            Self::Target => "target",
            Self::Doubt => "doubt",
        }
    }

    /// On paper and on a light screen; no two are the same, since the rules tell them apart by it.
    fn light(self) -> RGBColor {
        match self {
            Self::Frame => RGBColor(0x33, 0x33, 0x33),
            Self::Grid => RGBColor(0xDD, 0xDD, 0xDD),
            Self::Needed => RGBColor(0xBF, 0xD7, 0xEA),
            Self::Desired => RGBColor(0xA8, 0x4B, 0x00),
            Self::Fact => RGBColor(0x00, 0x3F, 0x8A),
            Self::Target => RGBColor(0xA4, 0x00, 0x00),
            Self::Doubt => RGBColor(0xEF, 0xE3, 0xB0),
        }
    }

    /// On a dark screen.
    fn dark(self) -> &'static str {
        match self {
            Self::Frame => "#D0D0D0",
            Self::Grid => "#3A3A3A",
            Self::Needed => "#2F4A63",
            Self::Desired => "#FFB366",
            Self::Fact => "#8CC4FF",
            Self::Target => "#FF8D85",
            Self::Doubt => "#4D4520",
        }
    }

    /// So that nobody needs to see colours.
    fn dashes(self) -> Option<&'static str> {
        match self {
            Self::Desired => Some("5 3"),
            Self::Target => Some("2 4"),
            _ => None,
        }
    }
}

/// The style sheet of every chart and its legend.
pub fn rules() -> String {
    let (mut rules, mut dark) = (String::new(), String::new());
    for ink in Ink::ALL {
        let (class, RGBColor(red, green, blue)) = (ink.class(), ink.light());
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        // Writing to a string can't fail.
        let _ = writeln!(rules, ":root {{ --{class}: {light}; }}");
        let _ = writeln!(dark, ":root {{ --{class}: {}; }}", ink.dark());
        let _ = writeln!(rules, "svg [stroke=\"{light}\"] {{ stroke: var(--{class}); }}");
        let _ = writeln!(rules, "svg [fill=\"{light}\"] {{ fill: var(--{class}); }}");
        if let Some(dashes) = ink.dashes() {
            let _ = writeln!(rules, "svg [stroke=\"{light}\"] {{ stroke-dasharray: {dashes}; }}");
        }
    }
    // Paper is never dark.
    format!("{rules}@media screen and (prefers-color-scheme: dark) {{\n{dark}}}\n")
}

/// One line or area.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// How it looks.
    pub ink: Ink,
    /// In order of time.
    pub points: Vec<Point>,
}

/// Series over the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Time.
    pub across: Axis,
    /// Values.
    pub up: Axis,
    /// Where time is shaded: from, to.
    pub shades: Vec<(f64, f64)>,
    /// From the back to the front.
    pub series: Vec<Series>,
}

impl Chart {
    /// What belongs into an `<svg>` of this [`SIZE`].
    pub fn draw(&self) -> String {
        let mut svg = String::new();
        // Drawing into a string can't fail.
        let _ = self.draw_on(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area());
        let content = svg.split_once('>').map_or("", |(_, content)| content);
        content.trim_end().trim_end_matches("</svg>").to_owned()
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .y_label_area_size(LABELS.0)
            .x_label_area_size(LABELS.1)
            .build_cartesian_2d(Scale::of(&self.across), Scale::of(&self.up))?;
        let shade = |(from, to): &(f64, f64)| {
            Rectangle::new([(*from, self.up.from), (*to, self.up.to)], Ink::Doubt.light().filled())
        };
        chart.draw_series(self.shades.iter().map(shade))?;
        let (columns, across) = (SIZE.0 - LABELS.0 - 2 * MARGIN, (self.across.from, self.across.to));
        for Series { ink, points } in &self.series {
            let points = extremes(points, across, columns);
            match ink {
                Ink::Needed => chart.draw_series(AreaSeries::new(points, self.up.from, ink.light().filled()))?,
                _ => chart.draw_series(LineSeries::new(points, ink.light().stroke_width(2)))?,
            };
        }
        let label = ("sans-serif", 18).into_font().color(&Ink::Frame.light());
        chart
            .configure_mesh()
            .axis_style(Ink::Frame.light())
            .bold_line_style(Ink::Grid.light())
            .light_line_style(TRANSPARENT)
            .label_style(label)
            .draw()
    }
}

/// An axis as `plotters` knows it: with our own marks and labels.
struct Scale {
    axis: Axis,
    range: RangedCoordf64,
}

impl Scale {
    fn of(axis: &Axis) -> Self {
        Self { range: (axis.from..axis.to).into(), axis: axis.clone() }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.axis.marks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.axis.from..self.axis.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, place: &f64) -> String {
        self.axis.label(*place).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::axis::Clock;
    use super::*;

    fn chart() -> String {
        let across = Axis::of_time(600.0, Clock { start: Timestamp::UNIX_EPOCH });
        let series = [Ink::Needed, Ink::Desired, Ink::Fact];
        let series = series.map(|ink| Series { ink, points: vec![(0.0, 2.0), (600.0, 9.0)] }).to_vec();
        Chart { across, up: Axis::of_values(9.0, ""), shades: vec![(60.0, 120.0)], series }.draw()
    }

    #[test]
    fn every_colour_in_a_chart_has_a_rule() {
        let (chart, rules) = (chart(), rules());
        let colours = |attribute: &str| {
            let start = format!("{attribute}=\"#");
            let values = chart.split(&start).skip(1).map(|rest| rest[..6].to_owned());
            values.collect::<Vec<String>>()
        };
        for attribute in ["stroke", "fill"] {
            assert!(!colours(attribute).is_empty(), "{chart}");
            for colour in colours(attribute) {
                assert!(rules.contains(&format!("[{attribute}=\"#{colour}\"]")), "{attribute} {colour} has no rule");
            }
        }
    }

    #[test]
    fn a_chart_is_the_content_of_an_svg() {
        let chart = chart();
        assert!(!chart.contains("<svg") && !chart.contains("</svg") && chart.contains("<polyline"), "{chart}");
        assert!(chart.contains("10 min") && chart.contains("\n8\n"), "{chart}");
    }
}
