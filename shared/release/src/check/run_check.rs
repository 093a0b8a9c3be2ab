//! A check that a team writes itself: a Lambda function that says pass, fail or wait.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{duration, read_duration};

/// The longest payload, as JSON in bytes. It is kept in the log with the rest of the plan.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// The longest answer of a function that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest that a function may take to answer. Whoever asks it lives for half a minute only.
const TIMEOUT_MAX: SignedDuration = SignedDuration::from_secs(15);
/// How much of a function's message is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// A function that is asked whether to go on.
///
/// It is invoked with `{"penstock": context, "payload": payload}` and answers
/// `{"verdict": "pass" | "fail" | "wait", "message": ".."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunCheck {
    /// The function's ARN, with a version or an alias or without.
    pub function: String,
    /// Handed to the function as it is; null unless it is written.
    #[serde(default)]
    pub payload: Value,
    /// How long the function may take, 1 to 15 s.
    #[serde(default = "RunCheck::timeout", deserialize_with = "read_duration")]
    pub timeout: SignedDuration,
    /// How long a release asks again while the function says `wait` or cannot be asked; then it goes
    /// back.
    #[serde(default = "RunCheck::five_minutes", deserialize_with = "read_duration")]
    pub within: SignedDuration,
}

impl RunCheck {
    fn timeout() -> SignedDuration {
        SignedDuration::from_secs(10)
    }

    fn five_minutes() -> SignedDuration {
        SignedDuration::from_mins(5)
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.function.split(':').nth(6).unwrap_or(&self.function)
    }

    /// Says what is wrong and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        check_function(&self.function)?;
        duration("within", self.within, SignedDuration::from_secs(1))?;
        check_payload(&self.payload)?;
        check_timeout(self.timeout, TIMEOUT_MAX)
    }

    /// What the function is invoked with.
    pub fn event(&self, context: &Value) -> Value {
        json!({"penstock": context, "payload": self.payload})
    }
}

/// What a check says: a function, when it says something that can be understood, or a step's probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// Whether to go on.
    pub verdict: CheckVerdict,
    /// Why, for a person; one line. Empty when the function gave no message.
    pub said: String,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckVerdict {
    /// Go on.
    Pass,
    /// Never.
    Fail,
    /// Ask again later.
    Wait,
}

/// Why an answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not understand the function's answer ({0}); let it return \
     {{\"verdict\": \"pass\" | \"fail\" | \"wait\", \"message\": \"..\"}}"
)]
pub struct NoAnswer(String);

impl Checked {
    /// Reads what the function returned. Keys besides `verdict` and `message` are left alone.
    pub fn read(bytes: &[u8]) -> Result<Self, NoAnswer> {
        #[derive(Deserialize)]
        struct Raw {
            verdict: CheckVerdict,
            #[serde(default)]
            message: Option<String>,
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            let bytes = bytes.len();
            return Err(NoAnswer(format!(
                "it has {bytes} bytes, and at most {ANSWER_BYTES_MAX} are read"
            )));
        }
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|e| NoAnswer(reports::printable(&e.to_string(), MESSAGE_CHARS_MAX)))?;
        let message = raw.message.unwrap_or_default().replace(['\n', '\r'], " ");
        Ok(Self {
            verdict: raw.verdict,
            said: reports::printable(&message, MESSAGE_CHARS_MAX),
        })
    }
}

/// Whether this is a function's ARN, with a version or an alias or without: one that stands in the
/// stack's list of allowed checks, and not just a name, which would be another function in another
/// region.
pub(super) fn check_function(arn: &str) -> Result<(), String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let named = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_$".contains(c);
        (1..=140).contains(&text.len()) && text.chars().all(plain)
    };
    let fits = match parts[..] {
        ["arn", _, "lambda", region, account, "function", name]
        | ["arn", _, "lambda", region, account, "function", name, _] => {
            let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            !region.is_empty() && is_account && named(name)
        }
        _ => false,
    };
    let qualified = parts.get(7).is_none_or(|qualifier| named(qualifier));
    if fits && qualified {
        return Ok(());
    }
    Err(format!(
        "`function` is '{arn}': write its ARN, \
         arn:aws:lambda:REGION:ACCOUNT:function:NAME, with :ALIAS or :VERSION or without"
    ))
}

/// Whether a payload is small enough to be kept in a log.
pub(super) fn check_payload(payload: &Value) -> Result<(), String> {
    let bytes = payload.to_string().len();
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "`payload` has {bytes} bytes as JSON: at most {PAYLOAD_BYTES_MAX} are allowed; let the \
         function fetch the rest"
    ))
}

/// Whether a function's time is one that whoever waits for it has.
pub(super) fn check_timeout(timeout: SignedDuration, most: SignedDuration) -> Result<(), String> {
    let least = SignedDuration::from_secs(1);
    if (least..=most).contains(&timeout) {
        return Ok(());
    }
    Err(format!(
        "`timeout` is {timeout:#}: {least:#} to {most:#} is allowed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:smoke";

    fn check(yaml: &str) -> Result<RunCheck, String> {
        let check: RunCheck = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        check.check().map(|()| check)
    }

    #[test]
    fn a_check_is_read_with_its_defaults_and_survives_the_log() {
        let plain = check(&format!("function: {ARN}")).unwrap();
        assert_eq!(plain.timeout, SignedDuration::from_secs(10));
        assert_eq!(plain.payload, Value::Null);
        let whole =
            format!("function: {ARN}:live\npayload: {{paths: [/, /buy], n: 3}}\ntimeout: 5s");
        let whole = check(&whole).unwrap();
        assert_eq!(whole.payload, json!({"paths": ["/", "/buy"], "n": 3}));
        let stored = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<RunCheck>(&stored).unwrap(), whole);
        let context = json!({"release": "web-1"});
        assert_eq!(
            whole.event(&context),
            json!({"penstock": context, "payload": whole.payload})
        );
    }

    #[test]
    fn each_mistake_has_its_message() {
        for (yaml, message) in [
            ("function: smoke".to_owned(), "write its ARN"),
            (format!("function: '{ARN}:'"), "write its ARN"),
            (format!("function: '{ARN}:a:b'"), "write its ARN"),
            (format!("function: '{ARN} '"), "write its ARN"),
            (
                "function: arn:aws:lambda:eu-west-1:1:function:a".to_owned(),
                "write its ARN",
            ),
            (format!("function: {ARN}\ntimeout: 16s"), "1s to 15s"),
            (format!("function: {ARN}\ntimeout: 0s"), "1s to 15s"),
            (
                format!(
                    "function: {ARN}\npayload: {}",
                    "x".repeat(PAYLOAD_BYTES_MAX)
                ),
                "at most 16384",
            ),
            ("payload: 1".to_owned(), "function"),
            (format!("function: {ARN}\nverdict: pass"), "verdict"),
        ] {
            let error = check(&yaml).unwrap_err();
            assert!(error.contains(message), "{yaml}: {error}");
        }
    }

    #[test]
    fn an_answer_is_a_verdict_and_what_cannot_be_understood_is_none() {
        let read = |text: &str| Checked::read(text.as_bytes());
        for (text, verdict, said) in [
            (r#"{"verdict":"pass"}"#, CheckVerdict::Pass, ""),
            (
                r#"{"verdict":"fail","message":"3 of 9\nwrong"}"#,
                CheckVerdict::Fail,
                "3 of 9 wrong",
            ),
            (
                r#"{"verdict":"wait","message":null,"more":1}"#,
                CheckVerdict::Wait,
                "",
            ),
        ] {
            let said = said.to_owned();
            assert_eq!(read(text), Ok(Checked { verdict, said }), "{text}");
        }
        let long = format!(r#"{{"verdict":"pass","message":"{}"}}"#, "x".repeat(10_000));
        assert!(read(&long).unwrap().said.chars().count() <= MESSAGE_CHARS_MAX + 1);
        let longer = "x".repeat(ANSWER_BYTES_MAX + 1);
        for text in [
            "",
            "null",
            "{}",
            "\"pass\"",
            r#"{"verdict":"Pass"}"#,
            "{",
            &longer,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("let it return {\"verdict\""), "{error}");
        }
    }
}
