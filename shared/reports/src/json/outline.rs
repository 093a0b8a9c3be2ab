//! The beginning of a JSON document, as far as it tells formats apart.

use std::collections::BTreeMap;

use struson::reader::ValueType;

use super::{Fault, Json, explain};
use crate::error::ReadError;
use struson::reader::JsonReader;

/// Most places noted.
const PLACES_MAX: usize = 2_000;

/// How deep places are noted.
const DEPTH_MAX: usize = 6;

/// Where values are in a document. A place is written `runs[].tool.driver`: the names of members
/// joined by dots, with `[]` for any element of an array. The whole is the empty place.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// With the first string or number that is there.
    places: BTreeMap<String, String>,
    /// The name of the first member of the whole, when it is an object.
    first: Option<String>,
}

impl Outline {
    /// Reads the first document in `head`, as far as it goes, and why it does not go on.
    pub(crate) fn of(name: &str, head: &[u8]) -> (Self, Option<ReadError>) {
        let mut outline = Self::default();
        let mut body = head;
        let mut json = Json::new(&mut body);
        let seen = outline.see(&mut json, &mut String::new(), 0);
        let error = seen.err().map(|fault| explain(name, fault, json.1.get()));
        (outline, error)
    }

    /// Whether there is a value at `place`.
    pub(crate) fn has(&self, place: &str) -> bool {
        self.places.contains_key(place)
    }

    /// Whether the first value at `place` is this string.
    pub(crate) fn is(&self, place: &str, value: &str) -> bool {
        self.places.get(place).is_some_and(|found| found == value)
    }

    /// The name of the first member of the whole: some formats have names there that nobody knows.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// The places in the value at `place`, as they are written after it: `.name` or `[]`.
    pub(crate) fn within(&self, place: &str) -> impl Iterator<Item = &str> {
        let from = self.places.range(place.to_owned()..);
        from.map_while(move |(found, _)| found.strip_prefix(place))
            .filter(|rest| rest.starts_with(['.', '[']))
    }

    fn see(&mut self, json: &mut Json<'_>, place: &mut String, depth: usize) -> Result<(), Fault> {
        let known = self.places.contains_key(place.as_str());
        if depth > DEPTH_MAX || (!known && self.places.len() >= PLACES_MAX) {
            return json.skip();
        }
        let length = place.len();
        match json.0.peek()? {
            ValueType::Object => {
                self.places.entry(place.clone()).or_default();
                json.object(|name, json| {
                    if depth == 0 && self.first.is_none() {
                        self.first = Some(name.to_owned());
                    }
                    if length > 0 {
                        place.push('.');
                    }
                    place.push_str(name);
                    let seen = self.see(json, place, depth + 1);
                    place.truncate(length);
                    seen
                })?;
            }
            ValueType::Array => {
                self.places.entry(place.clone()).or_default();
                json.array(|json| {
                    place.push_str("[]");
                    let seen = self.see(json, place, depth + 1);
                    place.truncate(length);
                    seen
                })?;
            }
            ValueType::String | ValueType::Number | ValueType::Boolean | ValueType::Null => {
                let text = json.text()?.unwrap_or_default();
                self.places.entry(place.clone()).or_insert(text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_up_to_where_the_head_ends() {
        let head = br#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}}},{"results":[{"#;
        let (outline, error) = Outline::of("out.json", head);
        assert!(matches!(error, Some(ReadError::Truncated { .. })));
        assert!(outline.is("version", "2.1.0"));
        assert!(outline.has("runs[].tool.driver.name"));
        assert!(outline.has("runs[].results[]"));
        assert!(!outline.has("results"));
        assert_eq!(outline.first(), Some("version"));
        let within: Vec<_> = outline.within("runs[].tool").collect();
        assert_eq!(within, [".driver", ".driver.name"]);
        assert_eq!(outline.within("run").count(), 0);
    }

    #[test]
    fn a_document_of_many_places_is_outlined_within_bounds() {
        let members: Vec<_> = (0..10_000)
            .map(|n| format!("\"{n}\":{{\"a\":1}}"))
            .collect();
        let text = format!("{{{}}}", members.join(","));
        let (outline, error) = Outline::of("out.json", text.as_bytes());
        assert!(error.is_none());
        assert!(outline.places.len() <= PLACES_MAX);
    }
}
