//! A plot of latency against recall, written as SVG by hand.

use std::fmt::Write;

/// Points of one engine, joined by a line when there are several.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// Recall (0 to 1) and milliseconds (positive).
    pub points: Vec<(f64, f64)>,
    /// Whether its line is dashed.
    pub dashed: bool,
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Colours that are told apart with any kind of sight (Okabe and Ito, 2008).
const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
];

/// A plot with recall from left to right and milliseconds, on a logarithmic scale, from bottom to top.
#[must_use]
pub fn plot(title: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|s| s.points.iter().copied());
    let axes = Axes::around(points());
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    axes.draw(&mut out);
    for (number, one) in series.iter().enumerate() {
        draw_series(&mut out, &axes, one, number);
    }
    out.push_str("</svg>\n");
    out
}

struct Axes {
    recall: (f64, f64),
    /// Powers of ten.
    milliseconds: (f64, f64),
}

impl Axes {
    fn around(points: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        const STEP: f64 = 0.05;
        let least = points.clone().map(|p| p.0).fold(1.0 - STEP, f64::min);
        let fastest = points.clone().map(|p| p.1).fold(f64::INFINITY, f64::min);
        let slowest = points.map(|p| p.1).fold(0.0, f64::max);
        let (low, high) = if slowest > 0.0 {
            (fastest.log10().floor(), slowest.log10().ceil())
        } else {
            (0.0, 1.0)
        };
        Self {
            recall: ((least / STEP).floor() * STEP, 1.0),
            milliseconds: (low, if high > low { high } else { low + 1.0 }),
        }
    }

    fn x(&self, recall: f64) -> f64 {
        let (low, high) = self.recall;
        LEFT + (recall - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, milliseconds: f64) -> f64 {
        let (low, high) = self.milliseconds;
        HEIGHT - BOTTOM - (milliseconds.log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let steps = ((self.recall.1 - self.recall.0) / 0.05).round() as usize;
        for step in 0..=steps {
            let recall = self.recall.0 + 0.05 * step as f64;
            let x = self.x(recall);
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{recall:.2}</text>",
                bottom + 18.0
            );
        }
        for power in self.milliseconds.0 as i32..=self.milliseconds.1 as i32 {
            for digit in 1..=9 {
                let milliseconds = f64::from(digit) * 10_f64.powi(power);
                let y = self.y(milliseconds);
                if y < TOP - 0.5 {
                    break;
                }
                let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e4e4e4\"/>");
                if matches!(digit, 1 | 2 | 5) {
                    let x = LEFT - 8.0;
                    let _ = writeln!(
                        out,
                        "<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{milliseconds}</text>",
                        y + 4.0
                    );
                }
            }
        }
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">recall@10</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">p50, ms a query (one thread)</text>\n",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            f64::midpoint(TOP, bottom)
        );
    }
}

fn draw_series(out: &mut String, axes: &Axes, series: &Series, number: usize) {
    let colour = COLOURS[number % COLOURS.len()];
    let dash = if series.dashed {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    };
    let mut points = series.points.clone();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|&(recall, ms)| (axes.x(recall), axes.y(ms)))
        .collect();
    if places.len() > 1 {
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let line = line.join(" ");
        let _ = writeln!(
            out,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dash}/>"
        );
    }
    for (x, y) in places {
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
    let (x, y) = (WIDTH - RIGHT + 16.0, TOP + 10.0 + 20.0 * number as f64);
    let _ = writeln!(
        out,
        "<path d=\"M{x} {y}h22\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/><text x=\"{}\" y=\"{}\">{}</text>",
        x + 28.0,
        y + 4.0,
        escape(&series.name)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
            dashed: false,
        }
    }

    #[test]
    fn every_point_is_drawn_inside_the_axes() {
        let all = [
            series("ours <2 bits>", &[(0.99, 0.5), (0.81, 0.2), (1.0, 3.0)]),
            series("peer", &[(0.95, 199.0)]),
        ];
        let svg = plot("a & b", &all);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.contains("ours &lt;2 bits&gt;") && svg.contains("a &amp; b"));
        for circle in svg.split("<circle cx=\"").skip(1) {
            let mut numbers = circle.split('"').filter_map(|part| part.parse::<f64>().ok());
            let (x, y) = (numbers.next().unwrap(), numbers.next().unwrap());
            assert!(
                (LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y),
                "{x} {y}"
            );
        }
    }

    #[test]
    fn faster_is_lower_and_better_is_to_the_right() {
        let axes = Axes::around([(0.9, 0.5), (1.0, 200.0)].into_iter());
        assert!(axes.y(0.5) > axes.y(1.0) && axes.y(1.0) > axes.y(200.0));
        assert!(axes.x(0.9) < axes.x(0.95));
        assert!((axes.x(1.0) - (WIDTH - RIGHT)).abs() < 1e-9);
        assert_eq!(axes.milliseconds, (-1.0, 3.0));
    }

    #[test]
    fn a_plot_of_nothing_is_still_a_plot() {
        assert!(plot("empty", &[]).ends_with("</svg>\n"));
    }
}
