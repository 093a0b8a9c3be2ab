//! An alias of a Lambda function, as the configuration names it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::Metrics;

/// The longest name of a function (Lambda's quota).
const FUNCTION_CHARS_MAX: usize = 64;
/// The longest name of an alias (Lambda `Alias`).
const ALIAS_CHARS_MAX: usize = 128;
/// Placeholders of queries that stand for nothing here.
const OF_BALANCERS: [&str; 2] = ["${target-group}", "${load-balancer}"];
/// The longest text of a [`NewVersion::File`] that is read: a version's ARN has less than 300 bytes.
pub const VERSION_FILE_BYTES_MAX: u64 = 1024;
/// What a message repeats of a file that names no version, in characters.
const SAID_CHARS_MAX: usize = 100;

/// An alias of a Lambda function, which divides invocations between two published versions.
///
/// The version that the alias points to when a release begins is stable; `version` says which one is
/// the candidate. A weight is exact to the basis point: Lambda takes any share from 0 to 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LambdaAlias {
    /// The function's ARN, without a version or alias.
    pub function: String,
    /// The alias' name.
    pub alias: String,
    /// Where the candidate comes from.
    #[serde(default)]
    pub version: NewVersion,
}

/// Where a Lambda release's candidate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewVersion {
    /// The function's code and configuration as they are when the release begins, published by the
    /// release. Lambda answers with the latest version when nothing has changed since it.
    #[default]
    Published,
    /// The number stands in this file of the input artifacts, by itself or at the end of an ARN.
    File(String),
    /// This one. In a stored plan it always is: what the file said, not the file, is the release's.
    #[serde(untagged)]
    Number(u64),
}

impl LambdaAlias {
    /// The alias' own ARN.
    pub fn arn(&self) -> String {
        format!("{}:{}", self.function, self.alias)
    }

    /// The function's name: the dimension `FunctionName` of its metrics.
    pub fn function_name(&self) -> &str {
        self.function.rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn check(&self, metrics: &Metrics) -> Result<(), String> {
        match parts_of(&self.function) {
            Some((function, None)) if is_name(function, FUNCTION_CHARS_MAX) => {}
            Some((function, Some(qualifier))) if is_name(function, FUNCTION_CHARS_MAX) => {
                return Err(format!(
                    "`function` is '{}': leave out ':{qualifier}' and name the alias under `alias`",
                    self.function
                ));
            }
            Some(_) | None => {
                return Err(format!(
                    "`function` is '{}': write the function's ARN, \
                     arn:aws:lambda:REGION:ACCOUNT:function:NAME",
                    self.function
                ));
            }
        }
        if !is_name(&self.alias, ALIAS_CHARS_MAX) || is_number(&self.alias) {
            return Err(format!(
                "`alias` is '{}': write an alias' name, such as live: 1 to {ALIAS_CHARS_MAX} \
                 letters, digits, '-' and '_', and no bare number; $LATEST and single versions \
                 cannot divide requests",
                self.alias
            ));
        }
        match &self.version {
            NewVersion::File(path) if path.trim().is_empty() => Err(
                "`version` names no file: write {file: version.txt}, a path in the input artifacts"
                    .to_owned(),
            ),
            NewVersion::Number(0) => {
                Err("`version` is 0: the first version of a function is 1".to_owned())
            }
            NewVersion::Published | NewVersion::File(_) | NewVersion::Number(_) => Ok(()),
        }?;
        match OF_BALANCERS.iter().find(|name| metrics.ask_for(name)) {
            Some(name) => Err(format!(
                "`metrics` has a query with {name}: an alias has none; write ${{version}}, the \
                 version's number"
            )),
            None => Ok(()),
        }
    }

    /// Takes the candidate's number from the text of the file that `version` names: `8`, or
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME:8` of this function.
    ///
    /// # Errors
    /// Says what the text is and what to write instead.
    pub(super) fn version_said(&mut self, text: &str) -> Result<(), String> {
        let NewVersion::File(path) = &self.version else {
            return Ok(());
        };
        let text = text.trim();
        let of_arn = text.strip_prefix(&self.function);
        let number = of_arn.and_then(|t| t.strip_prefix(':')).unwrap_or(text);
        let number = Some(number).filter(|number| is_number(number));
        match number.and_then(|number| number.parse().ok()) {
            Some(number @ 1..) => {
                self.version = NewVersion::Number(number);
                Ok(())
            }
            Some(0) | None => Err(format!(
                "{path} says '{}': let the build write the number of a published version into it, \
                 such as 8, or that version's ARN, {}:8",
                text.escape_debug().take(SAID_CHARS_MAX).collect::<String>(),
                self.function
            )),
        }
    }
}

/// The name and the qualifier in a function's ARN.
fn parts_of(arn: &str) -> Option<(&str, Option<&str>)> {
    let parts: Vec<&str> = arn.splitn(9, ':').collect();
    let (account, function, qualifier) = match parts[..] {
        ["arn", _, "lambda", _, account, "function", function] => (account, function, None),
        [
            "arn",
            _,
            "lambda",
            _,
            account,
            "function",
            function,
            qualifier,
        ] => (account, function, Some(qualifier)),
        _ => return None,
    };
    is_number(account).then_some((function, qualifier))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str, chars_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=chars_max).contains(&text.len()) && text.bytes().all(plain)
}

impl<'de> Deserialize<'de> for NewVersion {
    /// `published`, a number, or `{file: PATH}`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = NewVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("published, a version's number such as 8, or {file: version.txt}")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<NewVersion, E> {
        Ok(NewVersion::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<NewVersion, E> {
        let number = u64::try_from(number);
        number
            .map(NewVersion::Number)
            .map_err(|_| E::custom("`version` is negative: the first version of a function is 1"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<NewVersion, E> {
        match text {
            "published" => Ok(NewVersion::Published),
            number if is_number(number) => number
                .parse()
                .map(NewVersion::Number)
                .map_err(|_| E::custom(format!("`version` is {number}: no version is so high"))),
            other => Err(E::custom(format!(
                "`version` is '{other}': write published, a version's number such as 8, or \
                 {{file: version.txt}}"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NewVersion, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct InFile {
            file: String,
        }
        let in_file = InFile::deserialize(MapAccessDeserializer::new(map))?;
        Ok(NewVersion::File(in_file.file))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:shop";

    fn alias(version: NewVersion) -> LambdaAlias {
        LambdaAlias {
            function: FUNCTION.to_owned(),
            alias: "live".to_owned(),
            version,
        }
    }

    #[test]
    fn every_form_of_a_version_survives_the_release_log() {
        for version in [
            NewVersion::Published,
            NewVersion::Number(8),
            NewVersion::File("out/version.txt".to_owned()),
        ] {
            let alias = alias(version);
            let stored = serde_json::to_string(&alias).unwrap();
            assert_eq!(
                serde_json::from_str::<LambdaAlias>(&stored).unwrap(),
                alias,
                "{stored}"
            );
        }
    }

    #[test]
    fn a_file_names_a_version_by_its_number_or_by_its_arn() {
        for (text, number) in [
            ("8", 8),
            (" 12\r\n", 12),
            (&format!("{FUNCTION}:7\n"), 7),
            (&u64::MAX.to_string(), u64::MAX),
        ] {
            let mut alias = alias(NewVersion::File("version.txt".to_owned()));
            alias.version_said(text).unwrap();
            assert_eq!(alias.version, NewVersion::Number(number), "{text:?}");
        }
        for text in [
            "",
            "0",
            "-1",
            "+8",
            "8.0",
            "$LATEST",
            "live",
            "8 9",
            "18446744073709551616",
            FUNCTION,
            &format!("{FUNCTION}:live"),
            &format!("{FUNCTION}:8:9"),
            "arn:aws:lambda:eu-west-1:123456789012:function:other:8",
            "8\u{0}",
        ] {
            let mut alias = alias(NewVersion::File("version.txt".to_owned()));
            let error = alias.version_said(text).unwrap_err();
            assert!(error.contains("version.txt says '"), "{text:?}: {error}");
            assert!(error.contains("such as 8"), "{text:?}: {error}");
            assert_eq!(alias.version, NewVersion::File("version.txt".to_owned()));
        }
    }

    #[test]
    fn the_alias_and_its_function_have_the_names_that_aws_gives_them() {
        let alias = alias(NewVersion::Published);
        assert_eq!(alias.arn(), format!("{FUNCTION}:live"));
        assert_eq!(alias.function_name(), "shop");
    }

    proptest! {
        #[test]
        fn no_file_and_no_arn_whatever_they_hold_are_more_than_refused(text in any::<String>()) {
            let mut target = alias(NewVersion::File("v".to_owned()));
            let _refused_or_not = target.version_said(&text);
            let _none_or_some = parts_of(&text);
        }
    }
}
