//! Plots as SVG: lines over the offered rate on logarithmic axes, and horizontal bars.
//!
//! Owns: the drawing. Colours come from a style sheet with a light and a dark half, text from the reader's own
//! sans-serif; the background is transparent, so a page of either kind shows through. No fonts, no scripts, nothing
//! loaded.

use std::fmt::Write as _;

use super::defender::Defender;
use super::result::{Document, Row};
use super::setup::{Front, Scheme};
use super::{floods, requests};
use crate::stats;

/// Plots of the floods: name of the file after that of the result, and what it shows.
pub(super) const FLOOD_PLOTS: [(&str, &str); 3] = [
    ("success", "honest connections that succeed, over the offered rate"),
    ("answers", "SYN-ACKs per second, over the offered rate"),
    ("p99", "p99 of honest connections, over the offered rate"),
];
/// The plot of requests per CPU-second.
pub(super) const REQUESTS_PLOT: &str = "requests";

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;
/// Left, right, top and bottom of the plotted area; names stand to its right.
const AREA: (f64, f64, f64, f64) = (64.0, 600.0, 40.0, 348.0);
/// One for each subject, readable on white and on black.
const COLOURS: [&str; 9] =
    ["#6b7280", "#9ca3af", "#b45309", "#8b5cf6", "#0891b2", "#16a34a", "#ca8a04", "#dc2626", "#db2777"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}\
.grid{stroke:#d0d7de;stroke-width:1}.line{fill:none;stroke-width:2}.own{stroke-width:3.5}.bare{stroke-dasharray:6 5}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}}";

/// All plots that the result has figures for: name of the file and its text.
pub(super) fn all(document: &Document) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    let figures: [(Axis, Figure); 3] = [
        (Axis::Linear { most: 100.0, unit: " %" }, |row| {
            let count = row.sum("one_by_one_count");
            (count > 0.0).then(|| 100.0 * row.sum("one_by_one_succeeded_count") / count)
        }),
        (Axis::Logarithmic { unit: "/s", time: false }, |row| {
            row.median("made_pps").filter(|rate| *rate > 0.0)
        }),
        (Axis::Logarithmic { unit: "", time: true }, |row| row.median("one_by_one_p99_us")),
    ];
    for ((file, title), (axis, figure)) in FLOOD_PLOTS.into_iter().zip(figures) {
        let lines = flood_lines(document, figure);
        if !lines.is_empty() {
            plots.push((file.to_owned(), line_plot(title, axis, &lines)));
        }
    }
    let bars = request_bars(document);
    if !bars.is_empty() {
        plots.push((
            REQUESTS_PLOT.to_owned(),
            bar_plot("requests per CPU-second, kernel sockets, one core", &bars),
        ));
    }
    plots
}

/// What a plot shows of a row.
type Figure = fn(&Row) -> Option<f64>;

#[derive(Clone, Copy, Debug)]
enum Axis {
    Linear { most: f64, unit: &'static str },
    Logarithmic { unit: &'static str, time: bool },
}

impl Axis {
    fn show(self, value: f64) -> String {
        match self {
            Self::Linear { unit, .. } => format!("{value:.0}{unit}"),
            Self::Logarithmic { time: true, .. } => short(&stats::show_us(value as u64)),
            Self::Logarithmic { unit, .. } => short(&stats::show_count(value)) + unit,
        }
    }
}

/// `1.0 ms` to `1 ms`, `1.00 M` to `1 M`.
fn short(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

/// A line: who, how it is drawn, and its points (offered, figure).
struct Line {
    name: &'static str,
    class: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// IPv4 alone: two families in one picture are twice as many lines.
fn flood_lines(document: &Document, figure: Figure) -> Vec<Line> {
    let lines = Defender::ALL.iter().zip(COLOURS).map(|(defender, colour)| {
        let rows = document.chapter(floods::CHAPTER).filter(|row| row.subject == defender.name());
        let mut points: Vec<(f64, f64)> = rows
            .filter(|row| !row.case.contains("IPv6"))
            .filter_map(|row| Some((row.median("offered_pps").filter(|pps| *pps > 0.0)?, figure(row)?)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let class = match defender {
            Defender::SecbeatSyn | Defender::SecbeatL7 => "line own",
            _ if defender.is_ceiling() => "line bare",
            _ => "line",
        };
        Line { name: defender.name(), class, colour, points }
    });
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// Maps a value to a coordinate.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let place = |value: f64| if self.logarithmic { value.max(1e-9).log10() } else { value };
        let (low, high) = (place(self.low), place(self.high));
        let share = (place(value) - low) / (high - low).max(1e-9);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Powers of ten with 2 and 5 between where there is room, or fifths.
    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return (0..=5).map(|fifth| self.low + (self.high - self.low) * f64::from(fifth) / 5.0).collect();
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let steps: &[f64] = if decades.end() - decades.start() > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001).collect()
    }
}

fn line_plot(title: &str, axis: Axis, lines: &[Line]) -> String {
    let (left, right, top, bottom) = AREA;
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let x = Scale {
        low: least(&mut points().map(|point| point.0)),
        high: most(&mut points().map(|point| point.0)),
        from: left,
        to: right,
        logarithmic: true,
    };
    let (low, high, logarithmic) = match axis {
        Axis::Linear { most, .. } => (0.0, most, false),
        Axis::Logarithmic { .. } => {
            let (low, high) =
                (least(&mut points().map(|point| point.1)), most(&mut points().map(|point| point.1)));
            (low / 1.2, high * 1.2, true)
        }
    };
    let y = Scale { low, high, from: bottom, to: top, logarithmic };
    let mut body = String::new();
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(body, "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>");
        let label = short(&stats::show_count(tick));
        let _ = writeln!(
            body,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 18.0
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(body, "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>");
        let label = axis.show(tick);
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(offered, value)| format!("{:.1},{:.1}", x.at(*offered), y.at(*value)))
            .collect();
        let (class, colour) = (line.class, line.colour);
        let _ =
            writeln!(body, "<polyline class=\"{class}\" stroke=\"{colour}\" points=\"{}\"/>", path.join(" "));
        for point in &path {
            let (at, height) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(body, "<circle cx=\"{at}\" cy=\"{height}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let height = top + 10.0 + 24.0 * index as f64;
        let (begin, end) = (right + 18.0, right + 46.0);
        let _ = writeln!(body, "<path class=\"{class}\" stroke=\"{colour}\" d=\"M{begin} {height}H{end}\"/>");
        let _ = writeln!(body, "<text x=\"{}\" y=\"{}\">{}</text>", end + 8.0, height + 4.0, line.name);
    }
    let middle = (left + right) / 2.0;
    let _ = writeln!(
        body,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">SYNs per second sent</text>",
        bottom + 40.0
    );
    svg(title, HEIGHT, &body)
}

fn request_bars(document: &Document) -> Vec<(String, bool, f64)> {
    let chapter = requests::chapter(Front::Socket);
    let rows = Scheme::ALL
        .into_iter()
        .flat_map(|scheme| document.chapter(chapter).filter(move |row| row.case == scheme.name()));
    let figure = |row: &Row| row.median("requests_per_cpu_second");
    rows.filter_map(|row| {
        Some((format!("{}, {}", row.subject, row.case), row.subject.starts_with("SecBeat"), figure(row)?))
    })
    .collect()
}

fn bar_plot(title: &str, bars: &[(String, bool, f64)]) -> String {
    let (left, right, top) = (230.0, 740.0, 44.0);
    let most = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    let scale = Scale { low: 0.0, high: most, from: left, to: right, logarithmic: false };
    let mut body = String::new();
    for (index, (name, own, value)) in bars.iter().enumerate() {
        let height = top + 30.0 * index as f64;
        let colour = if *own { COLOURS[7] } else { COLOURS[0] };
        let width = scale.at(*value) - left;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            left - 8.0,
            height + 15.0
        );
        let _ = writeln!(
            body,
            "<rect x=\"{left}\" y=\"{height}\" width=\"{width:.1}\" height=\"20\" fill=\"{colour}\"/>"
        );
        let (end, label) = (left + width + 8.0, stats::show_count(*value));
        let _ = writeln!(body, "<text x=\"{end:.1}\" y=\"{}\">{label}</text>", height + 15.0);
    }
    svg(title, top + 30.0 * bars.len() as f64 + 10.0, &body)
}

fn svg(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<text class=\"title\" x=\"12\" y=\"24\">{title}</text>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::*;

    fn document() -> Document {
        let mut document = Document::begin(Host::default(), 0);
        for (case, offered, success, p99) in
            [("200 k/s", 2e5, 200.0, 900.0), ("1 M/s", 1e6, 168.0, 2.9e6), ("maximum", 5e6, 30.0, 3e6)]
        {
            let row = document.row(floods::CHAPTER, Defender::Kernel.name(), case);
            row.add("offered_pps", offered);
            row.add("made_pps", offered.min(540_000.0));
            row.add("one_by_one_count", 200.0);
            row.add("one_by_one_succeeded_count", success);
            row.add("one_by_one_p99_us", p99);
        }
        document.row("requests", "nginx", "http").add("requests_per_cpu_second", 50_000.0);
        document
    }

    #[test]
    fn every_point_lies_in_the_area() {
        let plots = all(&document());
        assert_eq!(plots.len(), 4);
        for (name, text) in &plots[..3] {
            let points = text.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            assert_eq!(points.split(' ').count(), 3, "{name}");
            for point in points.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((AREA.0..=AREA.1).contains(&x) && (AREA.2..=AREA.3).contains(&y), "{name}: {point}");
            }
        }
    }

    #[test]
    fn higher_is_up_and_more_is_right() {
        let text = &all(&document())[0].1;
        let points = text.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(points.split(' ').next(), Some("64.0,40.0"), "100 % at the lowest rate");
        assert_eq!(points.split(' ').next_back(), Some("600.0,301.8"), "15 % at the highest");
    }

    #[test]
    fn ticks_are_round_numbers_between_the_ends() {
        let scale = Scale { low: 50_000.0, high: 5e6, from: 0.0, to: 1.0, logarithmic: true };
        let ticks: Vec<String> =
            scale.ticks().into_iter().map(|tick| short(&stats::show_count(tick))).collect();
        assert_eq!(ticks, ["50 k", "100 k", "200 k", "500 k", "1 M", "2 M", "5 M"]);
        assert_eq!(short("1.0 ms"), "1 ms");
        assert_eq!(short("850 us"), "850 us");
    }

    #[test]
    fn without_figures_there_is_no_plot() {
        assert!(all(&Document::begin(Host::default(), 0)).is_empty());
    }
}
