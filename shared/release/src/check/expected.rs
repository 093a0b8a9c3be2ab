//! What an answer must say: a text in it, a pattern in it, values at places of its JSON.

use std::collections::BTreeMap;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// The most of an answer that is looked at, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// The longest text or pattern, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// The largest compiled pattern, in bytes: matching takes its size times the answer's at most.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// The most places of one answer.
const PLACES_MAX: usize = 20;
/// How much of what was found instead is shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What an answer must say, all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected<'a> {
    /// Text in it.
    pub contains: Option<&'a str>,
    /// A regular expression that finds something in it, byte by byte: classes such as `\w` are ASCII.
    pub matches: Option<&'a str>,
    /// JSON pointers (RFC 6901) and the values that must be there.
    pub json: &'a BTreeMap<String, Value>,
}

impl Expected<'_> {
    /// Whether any answer will do.
    pub fn is_nothing(&self) -> bool {
        self.contains.is_none() && self.matches.is_none() && self.json.is_empty()
    }

    /// Says what is wrong with this, and what to write instead. `of` is what the keys begin with,
    /// such as `body` of `body-contains`.
    pub(super) fn check(&self, of: &str) -> Result<(), String> {
        for (key, text) in [("contains", self.contains), ("matches", self.matches)] {
            match text.map(str::len) {
                Some(0) => {
                    return Err(format!(
                        "`{of}-{key}` is empty: write a text, or leave it out"
                    ));
                }
                Some(bytes) if bytes > TEXT_BYTES_MAX => {
                    return Err(format!(
                        "`{of}-{key}` has {bytes} bytes: at most {TEXT_BYTES_MAX} are allowed"
                    ));
                }
                Some(_) | None => {}
            }
        }
        if let Some(error) = self.matches.and_then(|text| pattern(text).err()) {
            let error = last_line(&error.to_string());
            return Err(format!("`{of}-matches` is no regular expression: {error}"));
        }
        if self.json.len() > PLACES_MAX {
            let count = self.json.len();
            return Err(format!(
                "`{of}-json` has {count} entries: at most {PLACES_MAX} are allowed"
            ));
        }
        self.json.keys().try_for_each(|place| {
            if is_pointer(place) {
                return Ok(());
            }
            Err(format!(
                "`{of}-json` has '{place}': write a JSON pointer such as /status or /checks/0/ok, \
                 with ~1 for a / in a name and ~0 for a ~"
            ))
        })
    }

    /// What is wrong with this answer, if anything; finishes 'its body ...'. `whole` is false for the
    /// beginning of a longer answer.
    pub fn unmet(&self, answer: &[u8], whole: bool) -> Option<String> {
        if let Some(text) = self
            .contains
            .filter(|text| memmem::find(answer, text.as_bytes()).is_none())
        {
            return Some(format!("does not contain '{text}'"));
        }
        if let Some(text) = self.matches {
            match pattern(text) {
                Ok(pattern) if pattern.is_match(answer) => {}
                Ok(_) => return Some(format!("does not match '{text}'")),
                Err(_) => {
                    return Some(format!(
                        "cannot match '{text}', which is no regular expression"
                    ));
                }
            }
        }
        if self.json.is_empty() {
            return None;
        }
        if !whole {
            return Some(format!(
                "has more than {BODY_BYTES_MAX} bytes, too many to read as JSON"
            ));
        }
        let Ok(found) = serde_json::from_slice::<Value>(answer) else {
            return Some(format!(
                "is no JSON, but '{}'",
                shown(&String::from_utf8_lossy(answer))
            ));
        };
        self.json.iter().find_map(|(place, expected)| {
            let name = if place.is_empty() { "the whole" } else { place };
            match found.pointer(place) {
                Some(value) if same(value, expected) => None,
                Some(value) => Some(format!(
                    "has {} at {name}, not {}",
                    shown(&value.to_string()),
                    shown(&expected.to_string())
                )),
                None => Some(format!("has nothing at {name}")),
            }
        })
    }
}

fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(8 * PATTERN_BYTES_MAX)
        .build()
}

/// RFC 6901: empty, or parts that each begin with a slash, where ~ is followed by 0 or 1.
fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1);
    (text.is_empty() || text.starts_with('/'))
        && text.len() <= TEXT_BYTES_MAX
        && escapes.into_iter().all(|rest| rest.starts_with(['0', '1']))
}

/// Whether two values are the same; 1 and 1.0 are, as in JSON itself.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            let in_y = |(key, x): (&String, &Value)| y.get(key).is_some_and(|y| same(x, y));
            x.len() == y.len() && x.iter().all(in_y)
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => a == b,
    }
}

/// The regex crate draws a picture of several lines; its last one says what is wrong.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn shown(text: &str) -> String {
    reports::printable(text, SHOWN_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn unmet(json: Value, answer: &str) -> Option<String> {
        let json = json.as_object().unwrap().clone().into_iter().collect();
        let expected = Expected {
            contains: None,
            matches: None,
            json: &json,
        };
        assert_eq!(expected.check("body"), Ok(()));
        expected.unmet(answer.as_bytes(), true)
    }

    #[test]
    fn values_are_found_where_the_pointers_say() {
        let answer = r#"{"status":"up","checks":[{"ok":true}],"a/b":{"m~n":1.0},"":0}"#;
        assert_eq!(
            unmet(json!({"/status": "up", "/checks/0/ok": true}), answer),
            None
        );
        assert_eq!(unmet(json!({"/a~1b/m~0n": 1, "/": 0}), answer), None);
        assert_eq!(unmet(json!({"/checks": [{"ok": true}]}), answer), None);
        assert_eq!(unmet(json!({"": 2}), "2"), None);
        for (expected, answer, said) in [
            (
                json!({"/status": "up"}),
                r#"{"status":"down"}"#,
                "\"down\" at /status, not \"up\"",
            ),
            (json!({"/status": "up"}), "{}", "nothing at /status"),
            (json!({"/n": 1}), r#"{"n":"1"}"#, "not 1"),
            (json!({"/n": 1}), r#"{"n":1"#, "no JSON"),
            (json!({"/n": 1}), "<html>\n", "no JSON, but '<html>'"),
            (json!({"/n/01": 1}), r#"{"n":[0,1]}"#, "nothing at /n/01"),
        ] {
            let unmet = unmet(expected, answer).unwrap();
            assert!(unmet.contains(said), "{unmet}");
        }
    }

    #[test]
    fn texts_and_patterns_are_looked_for_in_bytes() {
        let none = BTreeMap::new();
        let expect = |contains, matches| Expected {
            contains,
            matches,
            json: &none,
        };
        let latin1 = b"gr\xfc\xdfe: ok";
        assert_eq!(
            expect(Some("ok"), Some(r"\bok$")).unmet(latin1, false),
            None
        );
        assert_eq!(
            expect(Some("OK"), None).unmet(latin1, true).unwrap(),
            "does not contain 'OK'"
        );
        let unmet = expect(None, Some("^ok")).unmet(latin1, true).unwrap();
        assert_eq!(unmet, "does not match '^ok'");
        assert!(expect(None, None).is_nothing());
    }

    #[test]
    fn each_mistake_has_its_message() {
        let none = BTreeMap::new();
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (contains, matches, message) in [
            (Some(""), None, "`body-contains` is empty"),
            (Some(long.as_str()), None, "at most 1024"),
            (
                None,
                Some("("),
                "`body-matches` is no regular expression: unclosed group",
            ),
            (None, Some("(?:a{1000}){1000}"), "no regular expression"),
            (None, Some(""), "`body-matches` is empty"),
        ] {
            let error = Expected {
                contains,
                matches,
                json: &none,
            }
            .check("body")
            .unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let places = |places: Vec<String>| -> BTreeMap<_, _> {
            places
                .into_iter()
                .map(|place| (place, Value::Null))
                .collect()
        };
        let many = (0..=PLACES_MAX).map(|n| format!("/{n}")).collect();
        for (json, message) in [
            (
                places(vec!["status".to_owned()]),
                "'status': write a JSON pointer",
            ),
            (places(vec!["/a~2".to_owned()]), "write a JSON pointer"),
            (places(vec!["/a~".to_owned()]), "write a JSON pointer"),
            (places(many), "at most 20"),
        ] {
            let expected = Expected {
                contains: None,
                matches: None,
                json: &json,
            };
            let error = expected.check("body").unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_talk_for_long(answer: Vec<u8>, whole: bool, place in "(/[a-c~01]{0,3}){0,3}") {
            let json = BTreeMap::from([(place, json!({"a": [1, null]}))]);
            let expected = Expected { contains: Some("\u{e4}"), matches: Some(".*"), json: &json };
            let said = expected.unmet(&answer, whole).unwrap_or_default();
            prop_assert!(said.len() < 1_000);
        }
    }
}
