//! Text from a report, made fit to print.

use std::borrow::Cow;

/// The first line of `raw` that is not blank, cut at `chars_max` characters, with terminal escapes
/// taken out and every other character that could move a cursor or reorder text made visible.
pub(crate) fn line(raw: &str, chars_max: usize) -> String {
    raw.lines()
        .map(|line| neutral(line, chars_max))
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

/// Text in the encoding that its byte order mark says, or else in UTF-8. What is no text is replaced
/// by U+FFFD.
pub(crate) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
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
        fn no_text_keeps_a_control_character_or_grows_beyond_its_bound(raw in any::<String>()) {
            let kept = line(&raw, 20);
            prop_assert!(kept.chars().count() <= 21);
            prop_assert!(!kept.chars().any(|char| char.is_control() || reorders(char)));
        }
    }
}
