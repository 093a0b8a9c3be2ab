//! Text to JSON: a YAML or JSON document whose short tags (`!Ref x`) have become CloudFormation's long form (`{"Ref": "x"}`).

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use serde_saphyr::Tagged;

/// A template may hold at most this many bytes: what CloudFormation takes from S3.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Why a text is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the text has {bytes} bytes; at most {DOCUMENT_BYTES_MAX} are read")]
    TooLong {
        /// Length of the text, in bytes.
        bytes: usize,
    },
    /// Neither JSON nor YAML.
    #[error("could not read it as YAML or JSON")]
    Syntax(#[source] Box<serde_saphyr::Error>),
}

/// Reads `text`, YAML or JSON.
pub fn read(text: &str) -> Result<Value, DocumentError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLong { bytes: text.len() });
    }
    // YAML forbids the tabs that some JSON printers indent with, so JSON is tried as itself first.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true, // `on` and `yes` are words in a template
        leading_zero_numbers_as_strings: true, // an account id is no number
        underscored_numbers_as_strings: true,
    };
    let node: Tagged<Node> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| DocumentError::Syntax(Box::new(error)))?;
    Ok(long_form(node))
}

enum Node {
    Scalar(Value),
    List(Vec<Tagged<Node>>),
    Map(Vec<(String, Tagged<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a YAML node")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

fn long_form(Tagged(node, tag): Tagged<Node>) -> Value {
    let value = match node {
        Node::Scalar(value) => value,
        Node::List(list) => Value::Array(list.into_iter().map(long_form).collect()),
        Node::Map(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, long_form(value)))
                .collect::<Map<_, _>>(),
        ),
    };
    // Only local tags (`!Name`) are CloudFormation's; `!!str` and its kin have done their work.
    let Some(name) = tag.as_deref().and_then(|tag| tag.strip_prefix('!')) else {
        return value;
    };
    match name {
        "Ref" | "Condition" => json!({ name: value }),
        "GetAtt" => {
            let parts = match value.as_str().and_then(|text| text.split_once('.')) {
                Some((resource, attribute)) => json!([resource, attribute]),
                None => value,
            };
            json!({ "Fn::GetAtt": parts })
        }
        _ => json!({ (format!("Fn::{name}")): value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_tag_reads_as_its_long_form() {
        let value =
            read("a: !Ref Bucket\nb: !Sub '${X}-y'\nc: !GetAtt Fn.Arn\nd: !If [Is, 1, !Ref B]\n")
                .unwrap();
        assert_eq!(
            value,
            json!({"a": {"Ref": "Bucket"}, "b": {"Fn::Sub": "${X}-y"}, "c": {"Fn::GetAtt": ["Fn", "Arn"]},
                   "d": {"Fn::If": ["Is", 1, {"Ref": "B"}]}})
        );
    }

    #[test]
    fn words_and_numbers_keep_the_meaning_a_template_gives_them() {
        let value = read("a: on\nb: 012345678901\nc: '1'\nd: true\ne:\n").unwrap();
        assert_eq!(
            value,
            json!({"a": "on", "b": "012345678901", "c": "1", "d": true, "e": null})
        );
    }

    #[test]
    fn tab_indented_json_is_read() {
        assert_eq!(read("{\n\t\"a\": 1\n}").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn a_text_beyond_the_bound_is_refused() {
        let text = " ".repeat(DOCUMENT_BYTES_MAX + 1);
        assert!(matches!(read(&text), Err(DocumentError::TooLong { .. })));
    }
}
