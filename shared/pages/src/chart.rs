//! The shapes of the charts. A chart is [`HEIGHT`] high and has a slot of [`SLOT`] for each run; the
//! page stretches it to the room there is, so all text stands beside it.

/// The height of a chart.
const HEIGHT: f64 = 100.0;

/// The width of one run.
const SLOT: usize = 10;

/// Fewer runs than this take the room of so many, at the right.
pub(crate) const SLOTS_MIN: usize = 16;

/// Least height of a bar that stands for anything at all.
const VISIBLE: f64 = 2.0;

/// A chart of the runs.
pub(crate) struct Chart {
    /// Names it within the page.
    pub(crate) key: &'static str,
    /// What it shows.
    pub(crate) name: &'static str,
    /// This run's number.
    pub(crate) latest: String,
    /// What its upper and its lower edge stand for.
    pub(crate) top: String,
    pub(crate) bottom: String,
    /// For those who cannot see it.
    pub(crate) story: String,
    /// Class and word of each colour; empty when there is only one.
    pub(crate) legend: &'static [(&'static str, &'static str)],
    /// One for each run, this run's last.
    pub(crate) marks: Vec<Mark>,
    /// The path of a line through all runs, and of a dot at this one; empty for bars.
    pub(crate) line: String,
    pub(crate) dot: String,
}

impl Chart {
    /// How wide it is.
    pub(crate) fn width(&self) -> usize {
        SLOT * self.marks.len().max(SLOTS_MIN)
    }

    /// Where a run's slot begins.
    pub(crate) fn x(&self, index: &usize) -> usize {
        slot(*index, self.marks.len())
    }
}

fn slot(index: usize, slots: usize) -> usize {
    SLOT * (index + SLOTS_MIN.saturating_sub(slots))
}

/// One run in a chart.
pub(crate) struct Mark {
    pub(crate) title: String,
    pub(crate) parts: Vec<Part>,
}

/// One part of a bar.
pub(crate) struct Part {
    pub(crate) class: &'static str,
    pub(crate) y: String,
    pub(crate) height: String,
}

impl Mark {
    /// A run without a bar.
    pub(crate) fn plain(title: String) -> Self {
        Self {
            title,
            parts: Vec::new(),
        }
    }

    /// A run with a bar of parts, the lowest first.
    pub(crate) fn stacked<const N: usize>(
        title: String,
        scale: &Scale,
        parts: [(&'static str, f64); N],
    ) -> Self {
        let mut top = HEIGHT;
        let parts = parts.into_iter().filter(|(_, value)| *value > 0.0);
        let parts = parts.map(|(class, value)| {
            let height = (HEIGHT - scale.y(value)).max(VISIBLE).min(top);
            top -= height;
            Part {
                class,
                y: format!("{top:.2}"),
                height: format!("{height:.2}"),
            }
        });
        let parts = parts.collect();
        Self { title, parts }
    }
}

/// What the edges of a chart stand for.
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Scale {
    /// From nothing to `high`; None when that is nothing too.
    pub(crate) fn from_zero(high: f64) -> Option<Self> {
        (high > 0.0 && high.is_finite()).then_some(Self { low: 0.0, high })
    }

    /// Whole numbers around these values, with some air; None when there are none.
    pub(crate) fn around(values: impl Iterator<Item = f64>, least: f64, most: f64) -> Option<Self> {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        (low <= high).then(|| Self {
            low: (low - 1.0).floor().max(least),
            high: (high + 1.0).ceil().min(most),
        })
    }

    /// How far from the upper edge a value is.
    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }

    /// The path through the values, broken where one is missing, and that of a dot at the last.
    pub(crate) fn line(&self, values: &[Option<f64>]) -> (String, String) {
        let (mut line, mut dot) = (String::new(), String::new());
        let mut command = 'M';
        for (index, value) in values.iter().enumerate() {
            let Some(value) = value else {
                command = 'M';
                continue;
            };
            let x = slot(index, values.len()) + SLOT / 2;
            let at = format!("{x} {:.2}", self.y(*value));
            line += &format!("{command}{at}");
            // A line of no length is drawn as a dot: so is a value between two that are missing.
            if command == 'M' {
                line += "h0";
            }
            if index + 1 == values.len() {
                dot = format!("M{at}h0");
            }
            command = 'L';
        }
        (line, dot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_broken_where_a_value_is_missing() {
        let scale = Scale {
            low: 0.0,
            high: 10.0,
        };
        let (line, dot) = scale.line(&[Some(0.0), None, Some(5.0), Some(10.0)]);
        assert_eq!(line, "M125 100.00h0M145 50.00h0L155 0.00");
        assert_eq!(dot, "M155 0.00h0");
        assert_eq!(scale.line(&[None]), Default::default());
    }

    #[test]
    fn nothing_has_no_scale() {
        assert!(Scale::from_zero(0.0).is_none());
        assert!(Scale::from_zero(f64::INFINITY).is_none());
        assert!(Scale::around([].into_iter(), 0.0, 100.0).is_none());
    }

    proptest! {
        #[test]
        fn a_bar_never_leaves_its_chart(parts in prop::array::uniform3(0.0..1e19_f64)) {
            let sum: f64 = parts.iter().sum();
            let Some(scale) = Scale::from_zero(sum) else { return Ok(()) };
            let parts = parts.map(|part| ("part", part));
            for part in Mark::stacked(String::new(), &scale, parts).parts {
                let (y, height): (f64, f64) = (part.y.parse()?, part.height.parse()?);
                prop_assert!(y >= 0.0 && height >= 0.0 && y + height <= HEIGHT + 0.02);
            }
        }

        #[test]
        fn a_share_stands_between_the_edges(shares in prop::collection::vec(0.0..=100.0_f64, 1..9)) {
            let scale = Scale::around(shares.iter().copied(), 0.0, 100.0).unwrap();
            for share in shares {
                prop_assert!(scale.low <= share && share <= scale.high && scale.low < scale.high);
            }
        }
    }
}
