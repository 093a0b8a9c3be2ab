//! One line of TAP.

/// What a line says, apart from how far it is indented.
#[derive(Debug, PartialEq)]
pub(super) enum Tap<'a> {
    Version,
    /// `1..N`, with the reason of a `# SKIP`.
    Plan(u64, Option<&'a str>),
    Point(Point<'a>),
    /// `Bail out!`, with the reason.
    BailOut(&'a str),
    /// `# Subtest: name`
    Subtest(&'a str),
    /// Any other comment, without its sign.
    Comment(&'a str),
    /// `}`, the end of subtests that are written in braces after their test.
    BlockEnd,
    /// Whatever else a test prints.
    Other,
}

/// `ok` or `not ok`.
#[derive(Debug, PartialEq)]
pub(super) struct Point<'a> {
    pub(super) is_ok: bool,
    pub(super) number: Option<u64>,
    /// As written, with its escapes.
    pub(super) name: &'a str,
    pub(super) directive: Option<Directive>,
    pub(super) reason: &'a str,
    /// Subtests follow in braces.
    pub(super) opens_block: bool,
    pub(super) seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Directive {
    Skip,
    Todo,
}

impl<'a> Tap<'a> {
    /// Reads a line without its indentation.
    pub(super) fn of(line: &'a str) -> Self {
        let line = line.trim_end();
        if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim_start();
            return match comment.strip_prefix("Subtest:") {
                Some(name) => Self::Subtest(name.trim()),
                None => Self::Comment(comment),
            };
        }
        if let Some(version) = line.strip_prefix("TAP version ") {
            return match version.bytes().all(|byte| byte.is_ascii_digit()) {
                true => Self::Version,
                false => Self::Other,
            };
        }
        if let Some((head, reason)) = line.split_at_checked("Bail out!".len())
            && head.eq_ignore_ascii_case("Bail out!")
        {
            return Self::BailOut(reason.trim());
        }
        if line == "}" {
            return Self::BlockEnd;
        }
        let point = Point::of(line).map(Self::Point);
        point.or_else(|| Self::plan(line)).unwrap_or(Self::Other)
    }

    fn plan(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("1..")?;
        let (tests, rest) = number(rest)?;
        let rest = rest.trim_start();
        let comment = rest.strip_prefix('#').map(str::trim_start);
        if !rest.is_empty() && comment.is_none() {
            return None;
        }
        let skip = comment.and_then(|comment| Directive::of(comment));
        let skip = skip.filter(|(directive, _)| *directive == Directive::Skip);
        Some(Self::Plan(tests, skip.map(|(_, reason)| reason)))
    }
}

impl<'a> Point<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (is_ok, rest) = match line.strip_prefix("not ok") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok")?),
        };
        // The protocol has every line that begins with the word be a test.
        if rest.starts_with(|next: char| next.is_alphanumeric() || next == '_') {
            return None;
        }
        let rest = rest.trim_start();
        let numbered = number(rest).filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
        let (number, rest) = match numbered {
            Some((number, rest)) => (Some(number), rest.trim_start()),
            None => (None, rest),
        };
        let (rest, opens_block) = match rest.strip_suffix('{') {
            Some(before) if before.is_empty() || before.ends_with(' ') => (before.trim_end(), true),
            Some(_) | None => (rest, false),
        };
        let (name, directive) = Directive::split(rest);
        let (name, seconds) = without_time(name);
        let name = name.strip_prefix('-').unwrap_or(name).trim();
        Some(Self {
            is_ok,
            number,
            name,
            directive: directive.map(|(directive, _)| directive),
            reason: directive.map_or("", |(_, reason)| reason),
            opens_block,
            seconds,
        })
    }
}

impl Directive {
    /// The directive that a comment begins with, and its reason.
    fn of(comment: &str) -> Option<(Self, &str)> {
        let word = comment.get(..4)?;
        let directive = if word.eq_ignore_ascii_case("skip") {
            Self::Skip
        } else if word.eq_ignore_ascii_case("todo") {
            Self::Todo
        } else {
            return None;
        };
        // "skipped:" is a SKIP too, "todos" is no TODO.
        let rest = match directive {
            Self::Skip => comment[4..].trim_start_matches(|next: char| next.is_alphanumeric()),
            Self::Todo => &comment[4..],
        };
        if rest.starts_with(|next: char| next.is_alphanumeric() || next == '_') {
            return None;
        }
        let reason = rest.strip_prefix(':').unwrap_or(rest);
        Some((directive, reason.trim()))
    }

    /// Parts the description of a test from its directive. Only a `#` after a blank begins one: a
    /// name may hold others.
    fn split(text: &str) -> (&str, Option<(Self, &str)>) {
        for (at, _) in text.match_indices('#') {
            let before = &text[..at];
            if (before.is_empty() || before.ends_with(char::is_whitespace))
                && let Some(found) = Self::of(text[at + 1..].trim_start())
            {
                return (before.trim_end(), Some(found));
            }
        }
        (text, None)
    }
}

/// The number at the beginning, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// Parts a name from the `# time=12.5ms` that node-tap puts behind it.
fn without_time(name: &str) -> (&str, Option<f64>) {
    let parted = name.rsplit_once("# time=").and_then(|(name, time)| {
        let millis = millis(time.strip_suffix("ms")?)?;
        Some((name.trim_end(), millis / 1000.0))
    });
    match parted {
        Some((name, seconds)) => (name, Some(seconds)),
        None => (name, None),
    }
}

/// A time, when it is one.
pub(super) fn millis(text: &str) -> Option<f64> {
    let millis: f64 = text.trim().parse().ok()?;
    (millis.is_finite() && millis >= 0.0).then_some(millis)
}

/// Takes the backslashes out that TAP escapes `#` and `\` by.
pub(super) fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\\', Some(&next @ ('#' | '\\'))) => {
                plain.push(next);
                chars.next();
            }
            _ => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(line: &str) -> Point<'_> {
        match Tap::of(line) {
            Tap::Point(point) => point,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_point_has_a_number_a_name_and_a_directive_and_may_lack_each() {
        use Directive::{Skip, Todo};
        for (line, number, name, directive, reason) in [
            ("ok", None, "", None, ""),
            ("ok 1", Some(1), "", None, ""),
            ("ok - adds", None, "adds", None, ""),
            ("ok 2 adds 2 and 3", Some(2), "adds 2 and 3", None, ""),
            ("ok 3 -adds", Some(3), "adds", None, ""),
            ("ok 4 # SKIP no net", Some(4), "", Some(Skip), "no net"),
            ("ok 5 a # skipped: why", Some(5), "a", Some(Skip), "why"),
            ("ok 6 a #todo later", Some(6), "a", Some(Todo), "later"),
            ("ok 7 a # TODO", Some(7), "a", Some(Todo), ""),
            ("ok 8 a # todos", Some(8), "a # todos", None, ""),
            ("ok 9 C# SKIP", Some(9), "C# SKIP", None, ""),
            ("ok 10 a \\# TODO", Some(10), "a \\# TODO", None, ""),
            ("ok 11 # 1 # SKIP b", Some(11), "# 1", Some(Skip), "b"),
            (
                "ok 99999999999999999999 a",
                None,
                "99999999999999999999 a",
                None,
                "",
            ),
        ] {
            let point = point(line);
            let read = (point.number, point.name, point.directive, point.reason);
            assert_eq!(read, (number, name, directive, reason), "{line}");
        }
    }

    #[test]
    fn node_tap_writes_the_time_and_a_brace_behind_the_name() {
        let point = point("not ok 2 - prices # time=29.5ms {");
        assert_eq!((point.name, point.opens_block), ("prices", true));
        assert_eq!((point.is_ok, point.seconds), (false, Some(0.0295)));
    }

    #[test]
    fn what_only_looks_like_tap_is_other() {
        for line in [
            "okay",
            "not okay",
            "nok 1",
            "1..",
            "1..a",
            "1..2 tests",
            "2..3",
            "ok_1",
            "",
        ] {
            assert_eq!(Tap::of(line), Tap::Other, "{line}");
        }
        assert_eq!(
            Tap::of("1..0 # Skipped: no net"),
            Tap::Plan(0, Some("no net"))
        );
        assert_eq!(Tap::of("1..3 # three"), Tap::Plan(3, None));
        assert_eq!(Tap::of("BAIL OUT! why"), Tap::BailOut("why"));
    }

    #[test]
    fn escapes_are_taken_out_of_a_name() {
        assert_eq!(unescaped(r"a \# b \\ c \d \"), r"a # b \ c \d \");
    }
}
