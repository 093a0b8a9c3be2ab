//! The requests that reach the candidate before any share of the others does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a header in a rule's condition (ELBv2 `HttpHeaderName`).
const HEADER_NAME_CHARS_MAX: usize = 40;
/// The longest string that a rule compares with (ELBv2 `HttpHeaderConfig` and `QueryStringConfig`).
const VALUE_CHARS_MAX: usize = 128;
/// The most strings in one condition of a rule (ELBv2's quota).
const VALUES_MAX: usize = 3;
/// What may stand in a header's name besides letters and digits (RFC 9110 §5.6.2). A star may, too,
/// but a load balancer takes no wildcards there, so it is no name that anybody means.
const NAME_PUNCTUATION: &[u8] = b"!#$%&'+-.^_`|~";

/// Test traffic: what its requests have and all others have not.
///
/// In values `*` stands for any characters and `?` for exactly one; `\*` and `\?` are the
/// characters themselves in a query. Upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TestTraffic {
    /// A header with one of these values.
    Header {
        /// The header's name.
        name: String,
        /// One of them must match.
        values: Vec<String>,
    },
    /// A parameter in the query: `?key=value`.
    Query {
        /// The parameter's name.
        key: String,
        /// Must match.
        value: String,
    },
}

impl TestTraffic {
    /// How many strings its condition compares with; a rule may have five over all its conditions.
    pub fn comparisons(&self) -> usize {
        match self {
            Self::Header { values, .. } => values.len(),
            Self::Query { .. } => 1,
        }
    }

    /// Refuses what a load balancer would refuse, and what would match every request.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Header { name, values } => check_header(name, values),
            Self::Query { key, value } => check_query(key, value),
        }
    }
}

fn check_header(name: &str, values: &[String]) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || NAME_PUNCTUATION.contains(&b);
    if !(1..=HEADER_NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(token) {
        return Err(format!(
            "header-route: `name` is '{name}': write a header's name, such as X-Test: 1 to \
             {HEADER_NAME_CHARS_MAX} characters without wildcards"
        ));
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(
            "header-route: `name` is Host, which a load balancer does not compare as a header: \
             choose a header that only your tests send, such as X-Test"
                .to_owned(),
        );
    }
    if !(1..=VALUES_MAX).contains(&values.len()) {
        return Err(format!(
            "header-route: `values` has {} entries: 1 to {VALUES_MAX} are allowed",
            values.len()
        ));
    }
    for value in values {
        // Spaces are part of many headers' values.
        check_text("values", value, |b| (b' '..=b'~').contains(&b))?;
        if !has_a_letter(value) {
            return Err(format!(
                "header-route: `values` has '{value}', which matches whatever the header says, and \
                 so perhaps every request: write what only your tests send"
            ));
        }
    }
    Ok(())
}

fn check_query(key: &str, value: &str) -> Result<(), String> {
    // '&' and '#' end a parameter, '=' ends its name.
    let inner = |b: u8| b.is_ascii_graphic() && !b"&#".contains(&b);
    check_text("key", key, |b| inner(b) && b != b'=')?;
    check_text("value", value, inner)?;
    if has_a_letter(key) {
        return Ok(());
    }
    Err(format!(
        "header-route: `key` is '{key}', which matches whatever the parameter is called, and so \
         perhaps every request: write a name that only your tests send"
    ))
}

fn check_text(key: &str, text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), String> {
    if (1..=VALUE_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = text.escape_debug().take(VALUE_CHARS_MAX).collect();
    Err(format!(
        "header-route: `{key}` has '{shown}': 1 to {VALUE_CHARS_MAX} printable ASCII characters \
         are allowed; in a query write others, and spaces, '&', '#' and '=', percent-encoded"
    ))
}

/// Something besides wildcards.
fn has_a_letter(pattern: &str) -> bool {
    pattern.bytes().any(|b| b != b'*' && b != b'?')
}

impl fmt::Display for TestTraffic {
    /// Finishes 'requests with ..'.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, values } => write!(f, "header {name}: {}", values.join(" or ")),
            Self::Query { key, value } => write!(f, "?{key}={value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, values: &[&str]) -> TestTraffic {
        TestTraffic::Header {
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    fn query(key: &str, value: &str) -> TestTraffic {
        TestTraffic::Query {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn what_a_load_balancer_compares_is_taken() {
        let (name, value) = ("x".repeat(40), "v".repeat(128));
        for test in [
            header("X-Test", &["canary"]),
            header(&name, &["*canary*", "team a/2", &value]),
            header("x_test.1~", &["a?b"]),
            query("test", "canary"),
            query("test", "*"),
            query("te\\*t", "%20a=b"),
        ] {
            test.check().unwrap();
            let stored = serde_json::to_string(&test).unwrap();
            assert_eq!(serde_json::from_str::<TestTraffic>(&stored).unwrap(), test);
        }
    }

    #[test]
    fn what_a_load_balancer_refuses_is_refused_with_the_fix() {
        let (name, value) = ("x".repeat(41), "v".repeat(129));
        for (test, part) in [
            (header("", &["a"]), "such as X-Test"),
            (header(&name, &["a"]), "1 to 40 characters"),
            (header("X Test", &["a"]), "without wildcards"),
            (header("X-*", &["a"]), "without wildcards"),
            (header("hOsT", &["a"]), "such as X-Test"),
            (header("X-Test", &[]), "1 to 3 are allowed"),
            (header("X-Test", &["a"; 4]), "1 to 3 are allowed"),
            (header("X-Test", &[""]), "1 to 128"),
            (header("X-Test", &[&value]), "1 to 128"),
            (header("X-Test", &["a\nb"]), "'a\\nb'"),
            (header("X-Test", &["*?"]), "only your tests send"),
            (query("", "a"), "`key` has ''"),
            (query("a=b", "c"), "percent-encoded"),
            (query("a", "b&c"), "percent-encoded"),
            (query("a", "b c"), "percent-encoded"),
            (query("*", "b"), "only your tests send"),
            (query("é", "b"), "`key` has 'é'"),
        ] {
            let error = test.check().unwrap_err();
            assert!(error.contains(part), "{test:?}: {error}");
            assert!(error.starts_with("header-route: "), "{error}");
        }
    }

    #[test]
    fn test_traffic_is_told_as_it_is_sent() {
        assert_eq!(
            header("X-Test", &["a", "b"]).to_string(),
            "header X-Test: a or b"
        );
        assert_eq!(query("test", "a").to_string(), "?test=a");
        assert_eq!(header("X-Test", &["a", "b"]).comparisons(), 2);
    }
}
