//! Tables for a terminal.

/// Lays out rows of the same length, the first of them the heading. The first `texts` columns are
/// texts and start together, the others are numbers and end together.
pub fn lay_out<const N: usize>(texts: usize, rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if column < texts {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_start_together_and_numbers_end_together() {
        let rows =
            [["name", "ms"], ["a", "1.5"], ["longer", "10.5"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            lay_out(1, &rows),
            "name      ms\na        1.5\nlonger  10.5\n"
        );
    }
}
