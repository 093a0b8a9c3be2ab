//! `penstock check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
    SourceOffset,
};
use release::config::{Config, ConfigError, Step};
use serde_json::json;

/// Longest line that is shown of what a configuration holds, in characters.
const LINE_CHARS_MAX: usize = 1_000;

/// Check a penstock.yaml, with the code that the functions run.
///
/// The exit status is 0 when it can be used, 1 when it has a mistake, which is shown with its line
/// and how to mend it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// The file.
    #[arg(default_value = "penstock.yaml")]
    config: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  penstock check                        the penstock.yaml of this directory
  penstock check deploy/penstock.yaml
  penstock check --json | jq .error.line";

impl Check {
    /// Runs the command; gives the exit status.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.config.display().to_string();
        let text = std::fs::read_to_string(&self.config)
            .with_context(|| format!("could not read {name}"))?;
        let checked = Config::parse(&text);
        match (&checked, self.json) {
            (Ok(config), true) => println!("{}", json!({"ok": true, "sections": sections(config)})),
            (Ok(config), false) => show(&name, config),
            (Err(error), true) => println!(
                "{}",
                json!({"ok": false, "error": {
                    "message": error.message, "line": error.at.map(|(line, _)| line), "column": error.at.map(|(_, column)| column),
                }})
            ),
            (Err(error), false) => eprint!("{}", drawn(&name, text, error)),
        }
        Ok(if checked.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn sections(config: &Config) -> serde_json::Value {
    json!({
        "gates": config.gates().map(|(name, _)| name).collect::<Vec<_>>(),
        "releases": config.releases().map(|(name, _)| name).collect::<Vec<_>>(),
        "health-checks": config.health_checks().map(|(name, _)| name).collect::<Vec<_>>(),
    })
}

fn show(name: &str, config: &Config) {
    println!("{} {name} can be used", console::style("✓").green());
    // What the file says goes to a terminal.
    let say = |line: String| println!("  {}", reports::printable(&line, LINE_CHARS_MAX));
    for (section, gate) in config.gates() {
        let globs: Vec<_> = gate.reports.iter().map(|glob| &*glob.path).collect();
        say(format!("gate {section}: reads {}", globs.join(", ")));
    }
    for (section, plan) in config.releases() {
        let steps: Vec<_> = plan.steps.iter().map(Step::words).collect();
        say(format!(
            "release {section}: {} of {}",
            steps.join(", "),
            plan.target.id()
        ));
        let back: Vec<_> = plan.rollback.words().collect();
        if !back.is_empty() {
            say(format!("  when it goes back: {}", back.join(", ")));
        }
    }
    for (section, check) in config.health_checks() {
        say(format!(
            "health check {section}: {} probes, {} times in a row within {:#}",
            check.probes.len(),
            check.in_a_row,
            check.within
        ));
    }
}

/// The mistake at its line, as a compiler shows one. A control character in the file is shown as one
/// that cannot move a cursor.
pub(super) fn drawn(name: &str, text: String, error: &ConfigError) -> String {
    let harmless = |char: char| match char {
        '\n' | '\t' => char,
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    let text: String = text.replace("\r\n", "\n").chars().map(harmless).collect();
    let mut diagnostic = MietteDiagnostic::new(error.message.clone());
    if let Some((line, column)) = error.at {
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let offset = SourceOffset::from_location(&text, place(line), place(column));
        diagnostic = diagnostic.with_label(LabeledSpan::at_offset(offset.offset(), "here"));
    }
    let report = Report::new(diagnostic).with_source_code(NamedSource::new(name, text));
    let colours = console::colors_enabled_stderr();
    let theme = if colours {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let mut drawn = String::new();
    match GraphicalReportHandler::new_themed(theme).render_report(&mut drawn, report.as_ref()) {
        Ok(()) => drawn,
        Err(_) => format!("{name}: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_cannot_move_the_cursor() {
        for text in [
            "version: 1\ngates:\n  \"a\\e[2Jb\": {reprots: []}\n",
            "version: 1\n\"ga\\e[2Jtes\": {}\n",
            "version: 1\ngates: {a: {reports: [b\u{9b}2J], format: x\u{9b}2J}}\n",
        ] {
            let error = Config::parse(text).unwrap_err();
            let shown = drawn("penstock.yaml", text.to_owned(), &error);
            let shown = console::strip_ansi_codes(&shown).into_owned();
            let control = |c: char| c.is_control() && c != '\n';
            assert!(!shown.contains(control), "{shown:?}");
            assert!(!error.to_string().contains(control), "{error:?}");
        }
    }

    #[test]
    fn a_mistake_is_shown_at_its_line_with_the_fix() {
        let text = "version: 1\ngates:\n  unit:\n    reprots: [a.xml]\n".to_owned();
        let error = Config::parse(&text).unwrap_err();
        let shown = console::strip_ansi_codes(&drawn("penstock.yaml", text, &error)).into_owned();
        for part in [
            "did you mean `reports`?",
            "penstock.yaml:4:5",
            "reprots: [a.xml]",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
