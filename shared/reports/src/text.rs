//! Text from a report, made fit to print.

use std::borrow::Cow;

/// The first line of `raw` that is not blank, cut at `chars_max` characters, with terminal escapes
/// taken out and every other character that could move a cursor or reorder text made visible.
pub fn line(raw: &str, chars_max: usize) -> String {
    let mut kept = String::new();
    line_into(raw, chars_max, &mut kept);
    kept
}

/// Puts what [`line()`] gives into `kept`, in place of what is there.
pub(crate) fn line_into(raw: &str, chars_max: usize, kept: &mut String) {
    kept.clear();
    if raw.len() <= chars_max && is_plain(raw) {
        kept.push_str(raw.trim_matches(' '));
        return;
    }
    let lines = raw.lines().map(|line| neutral(line, chars_max));
    for line in lines.filter(|line| !line.is_empty()).take(1) {
        kept.push_str(&line);
    }
}

/// Whether every character is one that [`line()`] keeps as it is: printable ASCII, as nearly all
/// names are. It looks at all bytes, as that is quicker than to stop at the first that is not.
fn is_plain(raw: &str) -> bool {
    let is_printable = |byte: u8| matches!(byte, b' '..=b'~');
    raw.bytes().fold(true, |all, byte| all & is_printable(byte))
}

/// The beginning of a text that comes in pieces: enough of it to find its first line.
#[derive(Debug, Default)]
pub(crate) struct Beginning(String);

impl Beginning {
    /// How much of a text is searched for its first line, in bytes.
    const BYTES_MAX: usize = 4096;

    /// Adds the next piece, as far as there is room.
    pub(crate) fn push(&mut self, piece: &str) {
        if self.0.len() >= Self::BYTES_MAX {
            return;
        }
        let piece = match self.0.is_empty() {
            true => piece.trim_start(),
            false => piece,
        };
        self.0
            .push_str(&piece[..piece.floor_char_boundary(Self::BYTES_MAX)]);
    }

    /// Its first line that is not blank, as [`line()`] makes it.
    pub(crate) fn line(&self, chars_max: usize) -> String {
        line(&self.0, chars_max)
    }

    /// The same, without a first line that holds `heading`, unless that is the only one.
    pub(crate) fn line_below(&self, heading: &str, chars_max: usize) -> String {
        let below = match self.0.split_once('\n') {
            Some((first, rest)) if first.contains(heading) => line(rest, chars_max),
            Some(_) | None => String::new(),
        };
        match below.is_empty() {
            true => self.line(chars_max),
            false => below,
        }
    }
}

/// The last part of a path of Unix or Windows.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// `name` without the `class.` that it begins with; all of it where it does not.
pub(crate) fn within<'a>(class: &str, name: &'a str) -> &'a str {
    let member = name
        .strip_prefix(class)
        .and_then(|rest| rest.strip_prefix('.'));
    member.filter(|member| !member.is_empty()).unwrap_or(name)
}

/// Text in the encoding that its byte order mark says, or else in UTF-8. What is no text is replaced
/// by U+FFFD.
pub fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let (encoding, mark) = encoding_rs::Encoding::for_bom(bytes).unwrap_or((encoding_rs::UTF_8, 0));
    encoding.decode_without_bom_handling(&bytes[mark..]).0
}

fn neutral(line: &str, chars_max: usize) -> String {
    let mut kept = String::new();
    let mut count = 0;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        let char = match char {
            '\u{1b}' => {
                skip_escape(&mut chars);
                continue;
            }
            '\u{9b}' => {
                skip_to_final(&mut chars);
                continue;
            }
            char if char.is_whitespace() => ' ',
            char if char.is_control() || reorders(char) => char::REPLACEMENT_CHARACTER,
            char => char,
        };
        if char == ' ' && kept.is_empty() {
            continue;
        }
        if count == chars_max {
            kept.push('…');
            break;
        }
        kept.push(char);
        count += 1;
    }
    kept.truncate(kept.trim_end().len());
    kept
}

/// After an escape character: what the terminal would take as its command (ECMA-48).
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => skip_to_final(chars),
        // A command string ends with BEL, or with ESC and a backslash.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(char) = chars.next() {
                if char == '\u{7}' || (char == '\u{1b}' && chars.next() == Some('\\')) {
                    return;
                }
            }
        }
        Some(_) | None => {}
    }
}

/// The parameters of a control sequence up to its final character.
fn skip_to_final(chars: &mut std::str::Chars<'_>) {
    for char in chars.by_ref() {
        if !(' '..='?').contains(&char) {
            return;
        }
    }
}

/// Characters without width that change the direction of the text around them.
fn reorders(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_with_something_on_it_is_kept() {
        assert_eq!(line("\n \t\n  one \r\ntwo", 10), "one");
        assert_eq!(line("\u{1b}[31m\u{1b}[0m\nthe message", 20), "the message");
        assert_eq!(line(" \n", 10), "");
    }

    #[test]
    fn a_long_line_is_cut_and_shows_it() {
        assert_eq!(line("12345", 5), "12345");
        assert_eq!(line("123456", 5), "12345…");
    }

    #[test]
    fn the_beginning_of_a_text_is_bounded_and_has_its_first_line() {
        let mut beginning = Beginning::default();
        for piece in ["\n ", "\n one", " line\n", "two"] {
            beginning.push(piece);
        }
        assert_eq!(beginning.line(80), "one line");
        assert_eq!(beginning.line_below("one", 80), "two");
        assert_eq!(beginning.line_below("other", 80), "one line");
        (0..100).for_each(|_| beginning.push(&"ä".repeat(1_001)));
        assert!(beginning.0.len() < 2 * Beginning::BYTES_MAX);
    }

    #[test]
    fn a_name_is_told_without_its_class_or_folder() {
        assert_eq!(file_name(r"C:\build\shop.dll"), "shop.dll");
        assert_eq!(file_name("/build/shop.dll"), "shop.dll");
        assert_eq!(file_name("shop.dll"), "shop.dll");
        assert_eq!(within("shop.Cart", "shop.Cart.adds(1.5)"), "adds(1.5)");
        assert_eq!(within("shop.Car", "shop.Cart.adds"), "shop.Cart.adds");
        assert_eq!(within("shop.Cart", "shop.Cart."), "shop.Cart.");
        assert_eq!(within("", ".adds"), "adds");
    }

    #[test]
    fn terminal_escapes_are_taken_out() {
        assert_eq!(line("\u{1b}[1;31mred\u{1b}[0m text", 80), "red text");
        assert_eq!(
            line("\u{1b}]0;title\u{7}a\u{1b}]8;;u\u{1b}\\b\u{9b}2Jc", 80),
            "abc"
        );
        assert_eq!(line("cut\u{1b}[31", 80), "cut");
    }

    #[test]
    fn what_moves_the_cursor_or_reorders_text_is_made_visible() {
        assert_eq!(line("a\tb\u{8}c\u{202e}d\re\0", 80), "a b�c�d e�");
    }

    proptest! {
        #[test]
        fn what_is_plain_is_kept_as_what_is_not_would_be(
            raw in "[ -~]{0,30}|[ a-c\t\n\u{7f}é]{0,30}",
            chars_max in 0..40_usize,
        ) {
            let mut lines = raw.lines().map(|line| neutral(line, chars_max));
            let expected = lines.find(|line| !line.is_empty()).unwrap_or_default();
            prop_assert_eq!(line(&raw, chars_max), expected);
        }

        #[test]
        fn no_text_keeps_a_control_character_or_grows_beyond_its_bound(raw in any::<String>()) {
            let kept = line(&raw, 20);
            prop_assert!(kept.chars().count() <= 21);
            prop_assert!(!kept.chars().any(|char| char.is_control() || reorders(char)));
        }
    }
}
