//! How a release's parts are named and written in few words.

use std::collections::BTreeMap;

use console::{StyledObject, style};
use jiff::SignedDuration;
use release::{Phase, Release};

/// The longest text from a log that is shown, in characters.
const TEXT_CHARS_MAX: usize = 1_000;
/// How much of the job's id a short id keeps, in characters.
const SHORT_CHARS: usize = 8;
/// The length of the id of a job, which is a UUID.
const JOB_CHARS: usize = 36;

/// A text from a log, fit for a terminal: somebody else's words move no cursor.
pub(crate) fn plain(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    reports::printable(&line, TEXT_CHARS_MAX).replace('\u{a0}', " ")
}

/// As much of a line as fits into so many columns.
pub(crate) fn fit(line: &str, width: usize) -> String {
    match width {
        0 => String::new(),
        _ => console::truncate_str(line, width, "…").into_owned(),
    }
}

/// The phase, in its colour.
pub(crate) fn phase(release: &Release) -> StyledObject<&'static str> {
    match release.phase {
        Phase::Shifting => style("shifting").cyan(),
        Phase::RollingBack if release.stuck_since.is_some() => style("rollback stuck").red(),
        Phase::RollingBack => style("rolling back").yellow(),
        Phase::Promoted => style("promoted").green(),
        Phase::RolledBack => style("rolled back").red(),
    }
}

/// The current step as people count.
pub(crate) fn step_number(release: &Release) -> usize {
    (release.step + 1).min(release.plan().steps.len())
}

/// What is moved, without what all ARNs of an account begin with.
pub(crate) fn target(release: &Release) -> String {
    resource(&release.plan().target.id().0)
}

/// The end of an ARN that tells it from others; another text as it is.
pub(crate) fn resource(arn: &str) -> String {
    plain(arn.splitn(6, ':').nth(5).unwrap_or(arn))
}

/// `42s`, `3m`, `2h`, `5d`: since when, in the largest unit.
pub(crate) fn ago(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s ago"),
        120..7_200 => format!("{}m ago", seconds / 60),
        7_200..172_800 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// `1h 2m 3s`: whole seconds, never less than none.
pub(crate) fn lasting(time: SignedDuration) -> String {
    let whole = SignedDuration::from_secs(time.as_secs().max(0));
    format!("{whole:#}")
}

/// Ids as short as they can be while each still names its release: commands take a part of an id.
pub(crate) fn short_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let ids: Vec<_> = ids.collect();
    let short = |id: &'a str| {
        let chars = id.len().checked_sub(JOB_CHARS - SHORT_CHARS);
        let is_job = |at: usize| id.is_char_boundary(at) && id[at..].starts_with('-');
        chars.filter(|at| is_job(*at)).map_or(id, |at| &id[..at])
    };
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &ids {
        *used.entry(short(id)).or_default() += 1;
    }
    let named = ids.iter().map(|id| match used.get(short(id)) {
        Some(1) => short(id).to_owned(),
        Some(_) | None => (*id).to_owned(),
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_only_while_they_name_one_release() {
        let one = "web-0f0e0d0c-1111-4222-8333-444455556666";
        let two = "web-0f0e0d0c-9999-4222-8333-444455556666";
        let odd = "web-1";
        assert_eq!(short_ids([one, odd].into_iter()), ["web-0f0e0d0c", "web-1"]);
        assert_eq!(short_ids([one, two].into_iter()), [one, two]);
    }

    #[test]
    fn nobodys_words_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{a0}%"), "ab c %");
    }

    #[test]
    fn a_target_is_named_by_what_tells_it_from_others() {
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1/2/3";
        assert_eq!(resource(rule), "listener-rule/app/shop/1/2/3");
        assert_eq!(
            resource("arn:aws:lambda:eu-west-1:1:function:shop:live"),
            "function:shop:live"
        );
        assert_eq!(resource("7"), "7");
    }
}
