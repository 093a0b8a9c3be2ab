//! The figures at a glance: one row a contender, three columns of measures, as SVG.
//!
//! Lines and letters are of one neutral grey that reads on a white page and on a dark one.

use super::deciders::Contender;
use super::ladder::PLANNED_MINUTES;
use super::release::HORIZON_MINUTES;
use super::tables::{Results, requests};
use super::tally::{Part, Tally};

/// The harms whose exposure is shown: the cell, the words, the colour.
const HARMS: [(&str, &str, &str); 3] = [
    ("outage, 100 rps, 0.1 %", "every request fails", "#d1495b"),
    ("+1 point, 100 rps, 0.1 %", "1 % more fail", "#d98c21"),
    (
        "x5, 100 rps, 0.1 %",
        "5 times as many fail (0.5 %)",
        "#2a9d8f",
    ),
];
/// The cell whose time to 100 % is shown.
const GOOD: &str = "same version, 100 rps, 0.1 %";

/// What is shown of one contender.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Who.
    pub contender: Contender,
    /// Of all good versions, those rolled back.
    pub rolled_back: Part,
    /// The same in the cell where it is worst.
    pub worst: Part,
    /// For each of the harms, the median of the requests that met it.
    pub exposed: [Option<Exposed>; 3],
    /// The median of the minutes to 100 %; `None` when no good version got there.
    pub minutes: Option<f64>,
}

/// How many requests met a harm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exposed {
    /// The median.
    pub median: f64,
    /// Nine of ten releases expose no more.
    pub p90: f64,
    /// Whether most of the releases were rolled back at all.
    pub found: bool,
}

/// The rows, from what was measured.
pub fn rows<const N: usize>(good: &Results<N>, bad: &Results<N>) -> Vec<Row> {
    let row = |contender: &Contender| {
        let parts = good.of(*contender).into_iter().map(Tally::rolled_back);
        let worst = |a: Part, b: Part| if a.percent() >= b.percent() { a } else { b };
        let nothing = Part { hits: 0, of: 0 };
        let minutes = good
            .at(*contender, GOOD)
            .and_then(|tally| tally.minutes.as_ref());
        Row {
            contender: *contender,
            rolled_back: parts.clone().reduce(Part::and).unwrap_or(nothing),
            worst: parts.reduce(worst).unwrap_or(nothing),
            exposed: HARMS.map(|(cell, ..)| exposed(bad.at(*contender, cell)?)),
            minutes: minutes.map(|sample| sample.median()),
        }
    };
    good.contenders.iter().map(row).collect()
}

fn exposed(tally: &Tally) -> Option<Exposed> {
    let sample = tally.exposed.as_ref()?;
    Some(Exposed {
        median: sample.median(),
        p90: sample.p90(),
        found: 2 * tally.rolled_back > tally.releases,
    })
}

const INK: &str = "#768390";
const FAINT: &str = "#76839040";
const OWN: &str = "#3d7fe0";
const WIDTH: f64 = 1040.0;
const TOP: f64 = 92.0;
const ROW: f64 = 42.0;
/// Of a mark.
const RADIUS: f64 = 4.2;

/// A column of the picture: where it is, and the values at its ends.
struct Scale {
    left: f64,
    right: f64,
    from: f64,
    to: f64,
}

const PERCENT: Scale = Scale {
    left: 196.0,
    right: 316.0,
    from: 0.0,
    to: 100.0,
};
/// In powers of ten.
const EXPOSED: Scale = Scale {
    left: 466.0,
    right: 776.0,
    from: 1.0,
    to: 5.7,
};
const MINUTES: Scale = Scale {
    left: 826.0,
    right: 986.0,
    from: 0.0,
    to: 30.0,
};

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let part = (value - self.from) / (self.to - self.from);
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }
}

/// The picture.
pub fn draw(rows: &[Row]) -> String {
    let bottom = TOP + ROW * rows.len() as f64;
    let height = bottom + 88.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\" \
         font-family=\"-apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" \
         font-size=\"13\" fill=\"{INK}\">\n\
         <title id=\"title\">Penstock's judge and others in simulated releases</title>\n\
         <desc id=\"desc\">{}</desc>\n",
        described(rows)
    );
    svg += &headings();
    svg += &grid(bottom);
    for (row, number) in rows.iter().zip(0_u32..) {
        let y = TOP + ROW * (f64::from(number) + 0.5);
        svg += &band(row.contender, y);
        svg += &label(row, y);
        svg += &rolled_back(row, y);
        svg += &exposures(row, y);
        svg += &minutes(row, y);
    }
    svg += &legend(bottom);
    svg + "</svg>\n"
}

/// The picture in words, for those who do not see it.
fn described(rows: &[Row]) -> String {
    let sentences = rows.iter().map(|row| {
        let served = row.exposed[2].map_or("none".to_owned(), |e| requests(e.median));
        let name = long_name(row.contender).0;
        let rolled_back = short_percent(row.rolled_back);
        format!("{name}: rolled back {rolled_back} of good versions; a version with 5 times the errors served {served} requests.")
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// The name of a row, and what it needs to be understood.
fn long_name(contender: Contender) -> (&'static str, &'static str) {
    match contender {
        Contender::Penstock => ("Penstock", "by its defaults: errors"),
        Contender::PenstockSlowness => ("Penstock", "errors and slowness"),
        Contender::PenstockGoesOn => ("Penstock", "inconclusive: go-on"),
        Contender::PenstockToldClusters => ("Penstock", "cluster size told"),
        Contender::PenstockRobust => ("Penstock", "robust"),
        Contender::Oracle => ("Oracle", "knows both true rates"),
        Contender::Kayenta => ("Kayenta", "a look every 5 minutes"),
        Contender::Flagger => ("Flagger", "99 %, 5 failed checks"),
        Contender::Argo => ("Argo Rollouts", "95 %, failureLimit 3"),
        Contender::AlarmOnRate => ("CodeDeploy", "alarm: errors over 1 %"),
        Contender::AlarmOnErrors => ("CodeDeploy", "alarm: any error"),
    }
}

fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Penstock
        | Contender::PenstockSlowness
        | Contender::PenstockGoesOn
        | Contender::PenstockToldClusters
        | Contender::PenstockRobust => OWN,
        Contender::Oracle
        | Contender::Kayenta
        | Contender::Flagger
        | Contender::Argo
        | Contender::AlarmOnRate
        | Contender::AlarmOnErrors => INK,
    }
}

fn text(x: f64, y: f64, style: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>\n")
}

fn line(x: [f64; 2], y: [f64; 2], style: &str) -> String {
    format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>\n",
        x[0], y[0], x[1], y[1]
    )
}

/// A bar from the left end of a column.
fn bar(scale: &Scale, y: f64, value: f64, fill: &str) -> String {
    let width = (scale.at(value) - scale.left).max(1.5);
    let (x, y) = (scale.left, y - 8.0);
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\" rx=\"2\" fill=\"{fill}\"/>\n"
    )
}

fn headings() -> String {
    let strong = "font-size=\"15\" font-weight=\"600\"";
    [
        (
            &PERCENT,
            "Good versions rolled back",
            "13 kinds of traffic; line: the worst",
        ),
        (
            &EXPOSED,
            "Requests a bad version served",
            "before it was rolled back, median to p90",
        ),
        (&MINUTES, "Minutes to 100 %", "good version, 30 planned"),
    ]
    .map(|(scale, title, what)| {
        text(scale.left, 24.0, strong, title) + &text(scale.left, 44.0, "", what)
    })
    .concat()
}

/// The lines behind the marks, and what they stand for.
fn grid(bottom: f64) -> String {
    let faint = format!("stroke=\"{FAINT}\"");
    let middle = "text-anchor=\"middle\" font-size=\"12\"";
    let tick = |x: f64, words: &str| {
        line([x, x], [TOP - 4.0, bottom], &faint) + &text(x, TOP - 12.0, middle, words)
    };
    let mut svg = String::new();
    for percent in [0.0, 50.0, 100.0] {
        svg += &tick(PERCENT.at(percent), &format!("{percent} %"));
    }
    for (power, words) in [
        (1.0, "10"),
        (2.0, "100"),
        (3.0, "1 000"),
        (4.0, "10 000"),
        (5.0, "100 000"),
    ] {
        svg += &tick(EXPOSED.at(power), words);
    }
    for minutes in [0.0, 10.0, 20.0, 30.0] {
        svg += &tick(MINUTES.at(minutes), &minutes.to_string());
    }
    svg
}

/// What is behind a row: a tint behind our own, and a line above the oracle, who is no rival.
fn band(contender: Contender, y: f64) -> String {
    let top = y - ROW / 2.0;
    if colour(contender) == OWN {
        return format!(
            "<rect x=\"0\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{ROW}\" fill=\"{OWN}\" \
             fill-opacity=\"0.1\"/>\n"
        );
    }
    if contender == Contender::Oracle {
        let dashed = format!("stroke=\"{INK}\" stroke-dasharray=\"3 4\"");
        return line([0.0, WIDTH], [top, top], &dashed);
    }
    String::new()
}

fn label(row: &Row, y: f64) -> String {
    let (name, what) = long_name(row.contender);
    let strong = format!(
        "font-size=\"14\" font-weight=\"600\" fill=\"{}\"",
        colour(row.contender)
    );
    text(8.0, y - 2.0, &strong, name) + &text(8.0, y + 14.0, "font-size=\"12\"", what)
}

fn rolled_back(row: &Row, y: f64) -> String {
    let stroke = format!("stroke=\"{}\" stroke-width=\"2\"", colour(row.contender));
    let (all, worst) = (row.rolled_back.percent(), row.worst.percent());
    let end = PERCENT.at(worst);
    let words = format!(
        "{}<tspan font-weight=\"400\">, worst {}</tspan>",
        short_percent(row.rolled_back),
        short_percent(row.worst)
    );
    bar(&PERCENT, y, all, colour(row.contender))
        + &line([PERCENT.left, end], [y, y], &stroke)
        + &text(end + 8.0, y + 4.5, "font-weight=\"600\"", &words)
}

/// '0.12 %', '30 %'.
fn short_percent(part: Part) -> String {
    match part.percent() {
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{percent:.0} %"),
    }
}

fn exposures(row: &Row, y: f64) -> String {
    let mut svg = String::new();
    for (number, (exposed, (.., colour))) in row.exposed.iter().zip(HARMS).enumerate() {
        let Some(exposed) = exposed else { continue };
        let y = y + 9.0 * (number as f64 - 1.0); // three lanes
        let x = |requests: f64| EXPOSED.at(requests.max(1.0).log10());
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2.5\" stroke-linecap=\"round\"");
        let (median, p90) = (x(exposed.median), x(exposed.p90));
        if p90 - median > 2.0 * RADIUS {
            svg += &line([median + RADIUS, p90], [y, y], &stroke);
        }
        let fill = if exposed.found { colour } else { "none" };
        svg += &format!(
            "<circle cx=\"{median:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\" fill=\"{fill}\" stroke=\"{colour}\" \
             stroke-width=\"1.8\"/>\n"
        );
    }
    svg
}

fn minutes(row: &Row, y: f64) -> String {
    let Some(minutes) = row.minutes else {
        return text(
            MINUTES.left + 6.0,
            y + 4.5,
            "font-style=\"italic\"",
            "none got there",
        );
    };
    let end = MINUTES.at(minutes) + 8.0;
    bar(&MINUTES, y, minutes, colour(row.contender))
        + &text(end, y + 4.5, "font-weight=\"600\"", &minutes.to_string())
}

fn legend(bottom: f64) -> String {
    let mut svg = String::new();
    let mut x = 8.0;
    let y = bottom + 30.0;
    for (_, words, colour) in HARMS {
        svg += &format!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{RADIUS}\" fill=\"{colour}\"/>\n",
            x + 4.0,
            y - 4.5
        );
        svg += &text(x + 16.0, y, "", words);
        x += 52.0 + 7.4 * words.len() as f64;
    }
    svg += &format!(
        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{RADIUS}\" fill=\"none\" stroke=\"{INK}\" stroke-width=\"1.8\"/>\n",
        x + 4.0,
        y - 4.5
    );
    svg += &text(x + 16.0, y, "", "hollow: most were never rolled back");
    let fine = "Simulated in closed loop: 100 requests a second, 0.1 % of which fail; 1 % of them for \
                5 minutes, 5 % for 5, 25 % for 10, 50 % for 10, then all.";
    let counted = format!(
        "A bad version's requests are counted up to minute {HORIZON_MINUTES}; the plan takes {PLANNED_MINUTES}. \
         How each is modelled, and all figures: docs/judge.md"
    );
    svg += &text(8.0, y + 28.0, "font-size=\"12\"", fine);
    svg + &text(8.0, y + 46.0, "font-size=\"12\"", &counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contender: Contender) -> Row {
        let part = Part { hits: 1, of: 1000 };
        let exposed = |median: f64| {
            Some(Exposed {
                median,
                p90: 2.0 * median,
                found: median < 1000.0,
            })
        };
        Row {
            contender,
            rolled_back: part,
            worst: part,
            exposed: [exposed(60.0), exposed(600.0), exposed(227_000.0)],
            minutes: (contender == Contender::Penstock).then_some(17.0),
        }
    }

    #[test]
    fn every_contender_has_its_row_and_every_harm_its_mark() {
        let rows = Contender::MAIN.map(row);
        let svg = draw(&rows);
        for contender in Contender::MAIN {
            let (name, what) = long_name(contender);
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
            assert!(svg.contains(&format!(">{what}</text>")), "{what}");
        }
        let circles = svg.matches("<circle").count();
        assert_eq!(circles, 3 * rows.len() + HARMS.len() + 1);
        assert_eq!(svg.matches("none got there").count(), rows.len() - 1);
    }

    #[test]
    fn what_is_shown_was_simulated() {
        use crate::judge::cells;
        let names = |cells: Vec<cells::Cell>| cells.into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert!(names(cells::good()).contains(&GOOD.to_owned()));
        let bad = names(cells::bad());
        assert!(
            HARMS
                .iter()
                .all(|(cell, ..)| bad.contains(&(*cell).to_owned()))
        );
        assert_eq!(cells::good().len(), 13); // as the heading says
    }

    #[test]
    fn no_mark_leaves_its_column() {
        for scale in [PERCENT, EXPOSED, MINUTES] {
            for value in [-1e9, scale.from, scale.to, 1e9] {
                assert!((scale.left..=scale.right).contains(&scale.at(value)));
            }
        }
    }
}
