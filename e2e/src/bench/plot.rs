//! The committed results (`docs/benchmarks/results.yaml`) as bars in SVG. Pure. It is rectangles and text on one axis, so that
//! no library of charts is asked.

use std::fmt::Write;

use serde::Deserialize;

/// One picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// Its file, in the folder of the results.
    pub file: String,
    title: String,
    unit: String,
    /// What the thin line of a bar reaches to.
    spread: String,
    groups: Vec<Group>,
}

/// Bars that are compared with each other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    bars: Vec<Bar>,
}

/// A figure of a program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bar {
    of: String,
    value: f64,
    to: Option<f64>,
}

/// In pixels.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 62.0;
const LINE: f64 = 22.0;

/// A logarithmic axis of whole decades: a peer that is a thousand times slower would leave nothing to see of ours otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    /// That has room for all figures; none where a figure is not above zero.
    fn around(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = figures.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        if low.is_nan() || low <= 0.0 || !low.is_finite() {
            return None;
        }
        // Decades of figures that people measure fit.
        #[expect(clippy::cast_possible_truncation)]
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        // A figure on the first decade itself would be a bar without length.
        let first = if low.log10() - f64::from(first) < 0.05 { first - 1 } else { first };
        Some(Self { first, last: last.max(first + 1) })
    }

    fn x(self, figure: f64) -> f64 {
        let part = (figure.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + part * (RIGHT - LEFT)
    }
}

impl Plot {
    /// All that a file of results has.
    ///
    /// # Errors
    /// Where it is no such file, in the parser's words.
    pub fn all(results: &str) -> Result<Vec<Self>, yaml_serde::Error> {
        yaml_serde::from_str(results)
    }

    /// The picture; none where a figure is not above zero, which a logarithmic axis has no place for. Grey and blue are read on
    /// white and on black.
    #[must_use]
    pub fn svg(&self) -> Option<String> {
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        let axis = Axis::around(bars().flat_map(|bar| [Some(bar.value), bar.to]).flatten())?;
        let mut body = String::new();
        let mut y = TOP;
        for group in &self.groups {
            text(&mut body, 10.0, y + 15.0, "font-weight=\"bold\"", &group.name);
            y += LINE;
            for bar in &group.bars {
                bar.draw(&mut body, axis, y);
                y += LINE;
            }
            y += LINE / 2.0;
        }
        let mut svg = self.head(y + 14.0);
        grid(&mut svg, axis, y);
        svg.push_str(&body);
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn head(&self, height: f64) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"13\" fill=\"#808080\" role=\"img\">\n"
        );
        let _ = writeln!(svg, "<title>{}</title>", escaped(&self.title));
        text(&mut svg, 10.0, 20.0, "font-size=\"16\"", &self.title);
        let legend = format!("{}, logarithmic; bar: median, line: {}", self.unit, self.spread);
        text(&mut svg, 10.0, 40.0, "", &legend);
        svg
    }
}

impl Bar {
    fn draw(&self, svg: &mut String, axis: Axis, y: f64) {
        let colour = if self.of.starts_with("penstock") { "#2f81f7" } else { "#9a9a9a" };
        let (end, middle) = (axis.x(self.value), y + 8.0);
        text(svg, 10.0, y + 13.0, "", &self.of);
        let width = end - LEFT;
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>"
        );
        let mut last = end;
        if let Some(to) = self.to {
            last = axis.x(to);
            let _ = writeln!(
                svg,
                "<path d=\"M{end:.1} {middle}H{last:.1}M{last:.1} {y}v16\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
        }
        let figures = self.to.map_or(self.value.to_string(), |to| format!("{} ({to})", self.value));
        text(svg, last + 6.0, y + 13.0, "", &figures);
    }
}

fn grid(svg: &mut String, axis: Axis, bottom: f64) {
    for decade in axis.first..=axis.last {
        let figure = 10_f64.powi(decade);
        let x = axis.x(figure);
        let top = TOP - 4.0;
        let _ =
            writeln!(svg, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#808080\" stroke-opacity=\"0.3\"/>");
        text(svg, x, TOP - 7.0, "font-size=\"11\" text-anchor=\"middle\"", &figure.to_string());
    }
}

fn text(svg: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" {attributes}>{}</text>", escaped(text));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_room_for_all_figures_and_a_length_for_each() {
        let axis = Axis::around([0.11, 10_687.0].into_iter()).unwrap();
        assert_eq!(axis, Axis { first: -2, last: 5 });
        assert!(axis.x(0.11) > LEFT && axis.x(10_687.0) < RIGHT);
        assert_eq!(Axis::around([3.0].into_iter()), Some(Axis { first: 0, last: 1 }));
    }

    #[test]
    fn what_has_no_logarithm_is_not_drawn() {
        for figures in [[0.0, 1.0], [-1.0, 1.0]] {
            assert_eq!(Axis::around(figures.into_iter()), None);
        }
        assert_eq!(Axis::around(std::iter::empty()), None);
    }

    #[test]
    fn names_are_text_and_no_markup() {
        assert_eq!(escaped("a < b & c"), "a &lt; b &amp; c");
    }
}
