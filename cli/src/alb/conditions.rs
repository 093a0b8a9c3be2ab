//! Which requests a rule takes: its conditions on path, headers and query.
//!
//! They are checked here once, so that [`Conditions`] that exist are some that AWS would accept.

use axum::http::header::{HOST, HeaderMap, HeaderName};
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::ApiError;
use super::query::List;
use super::wire;

/// Most strings that all conditions of one rule compare with (AWS quota).
const COMPARISONS_MAX: usize = 5;

/// Longest string to compare with, in characters.
const PATTERN_CHARS_MAX: usize = 128;

/// What a path pattern may contain besides letters and digits.
const PATH_PUNCTUATION: &str = "_-.$/~\"'@:+&*?";

/// Longest name of a header.
const HEADER_NAME_CHARS_MAX: usize = 40;

/// What the conditions look at in a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// Checked conditions, all of which must be met.
#[derive(Clone, Debug)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Path(Patterns),
    Header { name: String, values: Patterns },
    Query(Vec<Pair>),
}

/// One parameter of a query to look for.
#[derive(Clone, Debug)]
struct Pair {
    /// None: any.
    key: Option<Patterns>,
    value: Patterns,
}

impl Conditions {
    pub(super) fn meet(&self, asked: &Asked<'_>) -> bool {
        self.0.iter().all(|condition| condition.meets(asked))
    }

    /// Reads a condition list of a rule other than the default.
    pub(super) fn from_wire(conditions: List<wire::Condition>) -> Result<Self, ApiError> {
        let all = conditions.member.into_iter().map(Condition::from_wire);
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        let comparisons = all.iter().map(Condition::comparisons).sum();
        if !(1..=COMPARISONS_MAX).contains(&comparisons) {
            return Err(ApiError::validation(format!(
                "the conditions of a rule must have from 1 to {COMPARISONS_MAX} values, not {comparisons}"
            )));
        }
        let paths = all.iter().filter(|c| matches!(c, Condition::Path(_)));
        if paths.count() > 1 {
            return Err(ApiError::validation(
                "a rule may have one condition on 'path-pattern'",
            ));
        }
        Ok(Self(all))
    }

    /// The condition list as AWS returns it: a path's values both plain and typed.
    pub(super) fn to_wire(&self) -> List<wire::Condition> {
        self.0.iter().map(Condition::to_wire).collect()
    }
}

impl Condition {
    fn meets(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Path(paths) => paths.match_one(asked.path),
            Self::Header { name, values } => {
                let said = asked.headers.get_all(name).iter();
                let mut said = said.filter_map(|value| value.to_str().ok());
                said.any(|value| values.match_one(value))
            }
            Self::Query(pairs) => {
                let mut said = asked
                    .query
                    .split('&')
                    .filter(|parameter| !parameter.is_empty());
                said.any(|parameter| {
                    let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                    pairs.iter().any(|pair| {
                        pair.key.as_ref().is_none_or(|keys| keys.match_one(key))
                            && pair.value.match_one(value)
                    })
                })
            }
        }
    }

    fn comparisons(&self) -> usize {
        match self {
            Self::Path(values) | Self::Header { values, .. } => values.texts.len(),
            Self::Query(pairs) => pairs.len(),
        }
    }

    fn from_wire(condition: wire::Condition) -> Result<Self, ApiError> {
        match condition.field.as_deref().unwrap_or_default() {
            "path-pattern" => paths(condition).map(Self::Path),
            "http-header" => header(condition),
            "query-string" => query(condition).map(Self::Query),
            unknown => Err(ApiError::validation(format!(
                "the local load balancer knows conditions on 'path-pattern', 'http-header' and \
                 'query-string' only, not on '{unknown}'"
            ))),
        }
    }

    fn to_wire(&self) -> wire::Condition {
        match self {
            Self::Path(paths) => wire::Condition {
                field: Some("path-pattern".to_owned()),
                values: paths.to_wire(),
                path_pattern_config: Some(wire::Values {
                    values: paths.to_wire(),
                }),
                ..Default::default()
            },
            Self::Header { name, values } => wire::Condition {
                field: Some("http-header".to_owned()),
                http_header_config: Some(wire::HttpHeader {
                    http_header_name: name.clone(),
                    values: values.to_wire(),
                }),
                ..Default::default()
            },
            Self::Query(pairs) => wire::Condition {
                field: Some("query-string".to_owned()),
                query_string_config: Some(wire::QueryString {
                    values: pairs.iter().map(Pair::to_wire).collect(),
                }),
                ..Default::default()
            },
        }
    }
}

impl Pair {
    fn from_wire(pair: wire::KeyValue) -> Result<Self, ApiError> {
        let key = pair.key.map(|key| Patterns::ignoring_case(vec![key]));
        Ok(Self {
            key: key.transpose()?,
            value: Patterns::ignoring_case(vec![pair.value])?,
        })
    }

    fn to_wire(&self) -> wire::KeyValue {
        let only = |patterns: &Patterns| patterns.texts.first().cloned();
        wire::KeyValue {
            key: self.key.as_ref().and_then(only),
            value: only(&self.value).unwrap_or_default(),
        }
    }
}

fn paths(condition: wire::Condition) -> Result<Patterns, ApiError> {
    let typed = condition.path_pattern_config.unwrap_or_default();
    let (plain, typed) = (condition.values.member, typed.values.member);
    let texts = match (plain.is_empty(), typed.is_empty()) {
        (_, true) => plain,
        (true, false) => typed,
        (false, false) if plain == typed => plain,
        (false, false) => {
            return Err(ApiError::validation(
                "Values and PathPatternConfig must not differ",
            ));
        }
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || PATH_PUNCTUATION.contains(c);
    if !texts.iter().all(|text| text.chars().all(allowed)) {
        return Err(ApiError::validation(format!(
            "a path pattern must be of the characters A-Z a-z 0-9 {PATH_PUNCTUATION}"
        )));
    }
    Patterns::new(texts, false)
}

fn header(condition: wire::Condition) -> Result<Condition, ApiError> {
    let config = condition.http_header_config.unwrap_or_default();
    let name = config.http_header_name;
    let is_header = HeaderName::from_bytes(name.as_bytes()).is_ok_and(|known| known != HOST);
    if !is_header || name.len() > HEADER_NAME_CHARS_MAX || name.contains('*') {
        return Err(ApiError::validation(format!(
            "HttpHeaderName must be the name of a header other than host, of at most \
             {HEADER_NAME_CHARS_MAX} characters without wildcards, not '{name}'"
        )));
    }
    let values = Patterns::ignoring_case(config.values.member)?;
    Ok(Condition::Header { name, values })
}

fn query(condition: wire::Condition) -> Result<Vec<Pair>, ApiError> {
    let config = condition.query_string_config.unwrap_or_default();
    let pairs = config.values.member.into_iter().map(Pair::from_wire);
    pairs.collect()
}

/// Strings with wildcards, one of which must match: `*` is any characters, slashes too, `?` is
/// exactly one, and after a backslash they stand for themselves.
#[derive(Clone, Debug)]
struct Patterns {
    texts: Vec<String>,
    matcher: GlobSet,
}

impl Patterns {
    fn ignoring_case(texts: Vec<String>) -> Result<Self, ApiError> {
        Self::new(texts, true)
    }

    fn new(texts: Vec<String>, ignoring_case: bool) -> Result<Self, ApiError> {
        if texts.is_empty() {
            return Err(ApiError::validation("a condition must have a value"));
        }
        let mut matcher = GlobSetBuilder::new();
        for text in &texts {
            matcher.add(glob(text, ignoring_case)?);
        }
        let matcher = matcher
            .build()
            .map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(Self { texts, matcher })
    }

    fn match_one(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }

    fn to_wire(&self) -> List<String> {
        self.texts.iter().cloned().collect()
    }
}

/// An ALB pattern as a glob, which knows more characters.
fn glob(pattern: &str, ignoring_case: bool) -> Result<Glob, ApiError> {
    let chars = pattern.chars().count();
    if !(1..=PATTERN_CHARS_MAX).contains(&chars) || !pattern.chars().all(|c| matches!(c, ' '..='~'))
    {
        return Err(ApiError::validation(format!(
            "a value must be from 1 to {PATTERN_CHARS_MAX} printable ASCII characters, not '{pattern}'"
        )));
    }
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            // Two stars in a row mean whole path components to a glob; to an ALB they are two stars.
            '*' if text.ends_with('*') => {}
            '*' | '?' => text.push(c),
            '\\' => text.push_str(&globset::escape(
                chars.next().unwrap_or(c).encode_utf8(&mut [0; 4]),
            )),
            other => text.push_str(&globset::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    GlobBuilder::new(&text)
        .literal_separator(false)
        .backslash_escape(false)
        .case_insensitive(ignoring_case)
        .build()
        .map_err(|error| ApiError::validation(format!("the value '{pattern}': {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(patterns: &[&str]) -> Result<Conditions, ApiError> {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned());
        read(wire::Condition {
            field: Some("path-pattern".to_owned()),
            values: patterns.collect(),
            ..Default::default()
        })
    }

    fn header(name: &str, values: &[&str]) -> Result<Conditions, ApiError> {
        read(wire::Condition {
            field: Some("http-header".to_owned()),
            http_header_config: Some(wire::HttpHeader {
                http_header_name: name.to_owned(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }),
            ..Default::default()
        })
    }

    fn query(key: Option<&str>, value: &str) -> Result<Conditions, ApiError> {
        let pair = wire::KeyValue {
            key: key.map(str::to_owned),
            value: value.to_owned(),
        };
        read(wire::Condition {
            field: Some("query-string".to_owned()),
            query_string_config: Some(wire::QueryString {
                values: [pair].into_iter().collect(),
            }),
            ..Default::default()
        })
    }

    fn read(condition: wire::Condition) -> Result<Conditions, ApiError> {
        Conditions::from_wire([condition].into_iter().collect())
    }

    /// Whether a request for this address with this header is taken.
    fn takes(conditions: &Conditions, address: &str, header: (&'static str, &'static str)) -> bool {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let mut headers = HeaderMap::new();
        headers.insert(header.0, axum::http::HeaderValue::from_static(header.1));
        let asked = Asked {
            path,
            query,
            headers: &headers,
        };
        conditions.meet(&asked)
    }

    const NO_HEADER: (&str, &str) = ("accept", "text/html");

    #[test]
    fn a_star_crosses_slashes_and_a_question_mark_is_one_character() {
        let matches =
            |pattern, path| takes(&paths(&[pattern]).expect("a pattern"), path, NO_HEADER);
        assert!(matches("/api/*", "/api/a/b"));
        assert!(matches("/api/**", "/api/a/b"));
        assert!(!matches("/api/*", "/API/a"), "paths are case-sensitive");
        assert!(matches("/a?c", "/abc"));
        assert!(!matches("/a?c", "/ac"));
        assert!(matches("*", "/"));
        assert!(!matches("/shop", "/shop/"));
        assert!(takes(
            &paths(&["/a", "/b"]).expect("patterns"),
            "/b",
            NO_HEADER
        ));
    }

    #[test]
    fn characters_that_only_a_glob_knows_are_refused_in_paths_and_mean_themselves_elsewhere() {
        for pattern in [
            "",
            "/[ab]",
            "/{a,b}",
            "/a\\b",
            &"a".repeat(PATTERN_CHARS_MAX + 1),
        ] {
            assert!(paths(&[pattern]).is_err(), "{pattern}");
        }
        let brackets = header("x-test", &["[ab]{c,d}"]).expect("a value");
        assert!(takes(&brackets, "/", ("x-test", "[AB]{c,d}")));
        assert!(!takes(&brackets, "/", ("x-test", "ac")));
    }

    #[test]
    fn a_header_is_compared_in_any_case_and_an_absent_one_does_not_match() {
        let test = header("X-Test", &["canary*", "me"]).expect("a condition");
        assert!(takes(&test, "/", ("x-test", "Canary/2")));
        assert!(takes(&test, "/", ("x-test", "me")));
        assert!(!takes(&test, "/", ("x-test", "you")));
        assert!(!takes(&test, "/", NO_HEADER));
        for (name, values) in [("Host", vec!["a"]), ("x *", vec!["a"]), ("x", vec![])] {
            assert!(header(name, &values).is_err(), "{name}");
        }
    }

    #[test]
    fn a_parameter_is_found_wherever_it_stands_in_the_query() {
        let test = query(Some("test"), "can?ry").expect("a condition");
        assert!(takes(&test, "/buy?a=b&TEST=CANARY&c=d", NO_HEADER));
        assert!(!takes(&test, "/buy?test=canaries", NO_HEADER));
        assert!(!takes(&test, "/buy?tests=canary", NO_HEADER));
        assert!(!takes(&test, "/buy", NO_HEADER));
        let literal = query(None, "a\\*").expect("a condition");
        assert!(takes(&literal, "/?x=a*", NO_HEADER));
        assert!(!takes(&literal, "/?x=ab", NO_HEADER));
    }

    #[test]
    fn all_conditions_must_be_met_and_they_have_five_values_in_all() {
        let list = |texts: &[&str], values: &[&str]| {
            let both = [paths(texts), header("x-test", values)].map(|c| c.expect("a condition"));
            Conditions::from_wire(both.iter().flat_map(|c| c.to_wire().member).collect())
        };
        let both = list(&["/buy"], &["canary"]).expect("conditions");
        assert!(takes(&both, "/buy", ("x-test", "canary")));
        assert!(!takes(&both, "/buy", NO_HEADER));
        assert!(!takes(&both, "/sell", ("x-test", "canary")));
        assert!(list(&["/a", "/b"], &["c", "d", "e"]).is_ok());
        assert!(list(&["/a", "/b", "/f"], &["c", "d", "e"]).is_err());
        assert!(Conditions::from_wire(List::default()).is_err());
    }
}
