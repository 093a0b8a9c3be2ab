//! `#{namespace.key}` in an action's configuration.

use std::collections::BTreeMap;

/// AWS's bound on one action's resolved configuration, in bytes.
pub const RESOLVED_BYTES_MAX: usize = 100 * 1024;

/// Values by namespace and key.
pub type Variables = BTreeMap<String, BTreeMap<String, String>>;

/// Why a text could not be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VariableError {
    /// No such variable.
    #[error("#{{{reference}}} has no value; {namespace} has {known}")]
    Unknown {
        /// What was asked for.
        reference: String,
        /// Its namespace.
        namespace: String,
        /// What exists there.
        known: String,
    },
    /// The result is too long.
    #[error("the resolved text is longer than {RESOLVED_BYTES_MAX} bytes")]
    TooLong,
}

/// Is it a legal namespace or variable name?
pub fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "@-_".contains(letter))
}

/// What stands between `#{` and `}`, for each reference in `text`.
pub fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("#{")
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(reference, _)| reference)
}

/// Puts the variables into `text`. Values are put in as they are: nothing is escaped, and a `#{..}` inside a value stays.
///
/// # Errors
/// [`VariableError`] naming what the namespace has instead.
pub fn interpolate(text: &str, variables: &Variables) -> Result<String, VariableError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#{") {
        let Some((reference, after)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        out.push_str(lookup(reference, variables)?);
        if out.len() > RESOLVED_BYTES_MAX {
            return Err(VariableError::TooLong);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup<'a>(reference: &str, variables: &'a Variables) -> Result<&'a str, VariableError> {
    let (namespace, key) = reference.split_once('.').unwrap_or((reference, ""));
    let found = variables.get(namespace);
    found
        .and_then(|keys| keys.get(key))
        .map(String::as_str)
        .ok_or_else(|| VariableError::Unknown {
            reference: reference.into(),
            namespace: namespace.into(),
            known: match found.map(|keys| keys.keys().cloned().collect::<Vec<_>>().join(", ")) {
                Some(keys) if !keys.is_empty() => keys,
                _ => "no variables".into(),
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let build = [
            ("Tag".to_owned(), "v1".to_owned()),
            ("Odd".to_owned(), "#{Build.Tag}".to_owned()),
        ];
        [("Build".to_owned(), build.into())].into()
    }

    #[test]
    fn each_reference_becomes_its_value_once() {
        let text = interpolate("a #{Build.Tag} b #{Build.Odd} c #{open", &variables()).unwrap();
        assert_eq!(text, "a v1 b #{Build.Tag} c #{open");
    }

    #[test]
    fn a_variable_without_value_names_those_that_have_one() {
        let error = interpolate("#{Build.Image}", &variables())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "#{Build.Image} has no value; Build has Odd, Tag");
        let error = interpolate("#{Test.Image}", &variables())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "#{Test.Image} has no value; Test has no variables");
    }

    #[test]
    fn a_text_cannot_grow_without_bound() {
        let long: Variables = [(
            "a".to_owned(),
            [("b".to_owned(), "x".repeat(60_000))].into(),
        )]
        .into();
        assert_eq!(
            interpolate("#{a.b}#{a.b}", &long),
            Err(VariableError::TooLong)
        );
    }
}
