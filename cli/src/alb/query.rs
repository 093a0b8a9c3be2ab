//! The AWS Query protocol: a form whose dotted keys describe a tree, answered by XML.
//!
//! `Actions.member.1.ForwardConfig.TargetGroups.member.2.Weight=10` becomes the JSON tree
//! `{"Actions": {"member": [{"ForwardConfig": {"TargetGroups": {"member": [.., {"Weight": "10"}]}}}]}}`,
//! so that one serde type serves for reading the request and for writing the answer.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::error::ApiError;

/// The XML namespace of every answer, which ends in the API's version.
const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The only version of the API.
const VERSION: &str = "2015-12-01";

/// Most form fields in one request. 5 groups in 100 actions stay below.
const FIELDS_MAX: usize = 2_000;

/// Deepest key: `Actions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn` has 8 parts.
const KEY_PARTS_MAX: usize = 12;

/// A list as the Query protocol writes it: numbered or repeated `member` elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(super) member: Vec<T>,
}

impl<T> List<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.member.is_empty()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { member: Vec::new() }
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self {
            member: items.into_iter().collect(),
        }
    }
}

/// A decoded request: the operation's name and its parameters.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) action: String,
    parameters: Value,
}

impl Query {
    /// Reads a form body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut root = Node::default();
        for (index, (key, value)) in form_urlencoded::parse(body).enumerate() {
            if index == FIELDS_MAX {
                return Err(ApiError::malformed(format!(
                    "more than {FIELDS_MAX} parameters"
                )));
            }
            if key.split('.').count() > KEY_PARTS_MAX {
                return Err(ApiError::malformed(format!(
                    "the parameter '{key}' is nested too deeply"
                )));
            }
            root.insert(&key, value.into_owned());
        }
        let version = root.take("Version").unwrap_or_default();
        if version != VERSION {
            return Err(ApiError::malformed(format!(
                "Version must be {VERSION}, not '{version}'"
            )));
        }
        let action = root.take("Action").ok_or_else(ApiError::missing_action)?;
        Ok(Self {
            action,
            parameters: root.into_value(),
        })
    }

    /// The parameters as the request type of one operation.
    pub(super) fn parameters<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        serde_json::from_value(self.parameters)
            .map_err(|error| ApiError::validation(error.to_string()))
    }
}

/// A tree under construction: a value, or children by name.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn insert(&mut self, key: &str, value: String) {
        let leaf = key.split('.').fold(self, |node, part| {
            node.children.entry(part.to_owned()).or_default()
        });
        leaf.value = Some(value);
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.children.remove(name)?.value
    }

    fn into_value(self) -> Value {
        if let Some(value) = self.value {
            return Value::String(value);
        }
        let children = self.children.into_iter().map(|(name, node)| {
            let value = if name == "member" {
                node.into_list()
            } else {
                node.into_value()
            };
            (name, value)
        });
        Value::Object(children.collect::<Map<_, _>>())
    }

    /// The numbered children in the order of their numbers, whatever the order and gaps of the form.
    fn into_list(self) -> Value {
        let mut numbered: Vec<_> = self
            .children
            .into_iter()
            .filter_map(|(name, node)| Some((name.parse::<u32>().ok()?, node.into_value())))
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        Value::Array(numbered.into_iter().map(|(_, value)| value).collect())
    }
}

/// Reads an optional number or boolean, all of which a form writes as text.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|error| D::Error::custom(format!("'{text}': {error}")))
}

/// The XML of a successful answer.
pub(super) fn success<T: Serialize>(
    action: &str,
    request_id: &str,
    result: &T,
) -> Result<String, ApiError> {
    let result = quick_xml::se::to_string_with_root(&format!("{action}Result"), result)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(format!(
        "<{action}Response xmlns=\"{NAMESPACE}\">{result}\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    ))
}

/// The XML of a refusal.
pub(super) fn failure(request_id: &str, error: &ApiError) -> String {
    let message = quick_xml::escape::escape(error.message());
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{}</Type><Code>{}</Code><Message>{message}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        error.fault(),
        error.code(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(form: &str) -> Value {
        let form = format!("Action=X&Version=2015-12-01&{form}");
        Query::parse(form.as_bytes()).expect("a query").parameters
    }

    #[test]
    fn dotted_keys_become_a_tree_and_members_become_lists_in_numeric_order() {
        assert_eq!(
            parse("A.member.10.W=3&A.member.2.W=2&A.member.1.W=1&B.C=x%20y"),
            json!({"A": {"member": [{"W": "1"}, {"W": "2"}, {"W": "3"}]}, "B": {"C": "x y"}})
        );
    }

    #[test]
    fn a_request_without_action_or_of_another_version_is_refused() {
        assert_eq!(
            Query::parse(b"Version=2015-12-01")
                .expect_err("no action")
                .code(),
            "MissingAction"
        );
        assert_eq!(
            Query::parse(b"Action=X&Version=2012-06-01")
                .expect_err("version")
                .code(),
            "MalformedQueryString"
        );
    }

    #[test]
    fn deep_and_long_requests_are_refused() {
        let deep = format!(
            "Action=X&Version=2015-12-01&{}=1",
            "a.".repeat(KEY_PARTS_MAX) + "a"
        );
        assert!(Query::parse(deep.as_bytes()).is_err());
        let long = (0..=FIELDS_MAX)
            .map(|n| format!("k{n}=1&"))
            .collect::<String>();
        assert!(Query::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn a_refusals_message_is_escaped() {
        let xml = failure("1", &ApiError::validation("<a> & \"b\""));
        assert!(
            xml.contains("<Message>&lt;a&gt; &amp; &quot;b&quot;</Message>"),
            "{xml}"
        );
    }
}
