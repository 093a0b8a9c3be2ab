//! URLs that must be answered as expected.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use url::Url;

use super::address::refusal;
use super::expected::Expected;
use crate::config::{read_duration, read_some_duration};

/// The most URLs of one probe.
const URLS_MAX: usize = 20;
/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// The most headers that are sent, and that are expected.
const HEADERS_MAX: usize = 20;
/// The longest name or value of a header, in bytes.
const HEADER_BYTES_MAX: usize = 1_024;
/// The most redirects that are followed.
const REDIRECTS_MAX: u32 = 5;
/// The most ranges of statuses.
const STATUSES_MAX: usize = 20;
/// The statuses that there are.
const STATUSES: RangeInclusive<u16> = 100..=599;
/// What the names of headers contain that carry secrets.
const SECRETS: [&str; 9] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "credential",
    "api-key",
    "apikey",
    "signature",
];
/// Headers that say how a request is sent, which the sender knows itself.
const SENDERS_OWN: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
];

/// URLs, asked side by side, that must all be answered as expected. Certificates are always verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpProbe {
    /// `http://` or `https://`; this or `urls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Several of them, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// How they are asked.
    #[serde(default)]
    pub method: Method,
    /// What is sent along, by name. Not the place for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, HeaderText>,
    /// The expected status.
    #[serde(default)]
    pub status: Statuses,
    /// Headers that must be there, with a value that contains this text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Text that the first 256 KiB of the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// A regular expression that must find something there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_matches: Option<String>,
    /// JSON pointers and the values that must be there in the body.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body_json: BTreeMap<String, Value>,
    /// How long the whole answer may take before nobody waits for it any more, 1 ms to 30 s.
    #[serde(default = "HttpProbe::timeout", deserialize_with = "read_duration")]
    pub timeout: SignedDuration,
    /// How long an answer may take and still be healthy.
    #[serde(
        default,
        deserialize_with = "read_some_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub slower_than: Option<SignedDuration>,
    /// How many redirects are followed, 0 to 5.
    #[serde(default)]
    pub redirects: u32,
    /// Whether a private address may be asked, where the stack allows it too.
    #[serde(default)]
    pub allow_private: bool,
}

/// How a URL is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// For the head and the body.
    #[default]
    Get,
    /// For the head alone.
    Head,
}

impl HttpProbe {
    fn timeout() -> SignedDuration {
        SignedDuration::from_secs(5)
    }

    /// All URLs.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.iter().chain(&self.urls).map(String::as_str)
    }

    /// What a body must say.
    pub fn expected(&self) -> Expected<'_> {
        Expected {
            contains: self.body_contains.as_deref(),
            matches: self.body_matches.as_deref(),
            json: &self.body_json,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.check_urls()?;
        self.request_headers
            .iter()
            .try_for_each(|(name, text)| check_sent(name, text))?;
        self.headers
            .iter()
            .try_for_each(|(name, text)| check_header("headers", name, text))?;
        for (key, count) in [
            ("request-headers", self.request_headers.len()),
            ("headers", self.headers.len()),
        ] {
            if count > HEADERS_MAX {
                return Err(format!(
                    "`{key}` has {count} entries: at most {HEADERS_MAX} are allowed"
                ));
            }
        }
        self.expected().check("body")?;
        if self.method == Method::Head && !self.expected().is_nothing() {
            return Err(
                "`method` is HEAD, whose answers have no body: leave out body-contains, \
                 body-matches and body-json, or write method: GET"
                    .to_owned(),
            );
        }
        if self.redirects > REDIRECTS_MAX {
            return Err(format!(
                "`redirects` is {}: 0 to {REDIRECTS_MAX} is allowed",
                self.redirects
            ));
        }
        self.check_times()
    }

    fn check_urls(&self) -> Result<(), String> {
        match (&self.url, self.urls.len()) {
            (Some(_), 0) | (None, 1..=URLS_MAX) => {}
            (None, 0) => {
                return Err("the probe has no `url`: write one, or several as `urls`".to_owned());
            }
            (None, count) => {
                return Err(format!(
                    "`urls` has {count} entries: at most {URLS_MAX} are allowed; write another probe"
                ));
            }
            (Some(_), _) => {
                return Err(
                    "the probe has `url` and `urls`: write all of them as `urls`".to_owned(),
                );
            }
        }
        self.urls()
            .try_for_each(|url| check_url(url, self.allow_private))
    }

    fn check_times(&self) -> Result<(), String> {
        let (least, most) = (
            SignedDuration::from_millis(1),
            SignedDuration::from_secs(30),
        );
        if !(least..=most).contains(&self.timeout) {
            return Err(format!(
                "`timeout` is {:#}: {least:#} to {most:#} is allowed",
                self.timeout
            ));
        }
        match self.slower_than {
            Some(time) if !(least..=self.timeout).contains(&time) => Err(format!(
                "`slower-than` is {time:#}: {least:#} to the `timeout`, {:#}, is allowed",
                self.timeout
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// A URL that may be asked, as far as that can be known before its host's name is resolved.
pub fn check_url(text: &str, private_too: bool) -> Result<(), String> {
    let odd = |why: &str| Err(format!("`url` is '{}': {why}", shown(text)));
    if text.len() > URL_BYTES_MAX {
        return odd(&format!("at most {URL_BYTES_MAX} bytes are allowed"));
    }
    let url = Url::parse(text).ok();
    let Some(url) = url.filter(|url| ["http", "https"].contains(&url.scheme())) else {
        return odd("write http://... or https://...");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return odd(
            "leave out the user and the password, which do not belong into a file that many read",
        );
    }
    match literal(&url).and_then(|address| refusal(address, private_too)) {
        Some(refusal) => odd(&refusal),
        None => Ok(()),
    }
}

/// The address that a URL names itself, in whatever notation: `http://0x7f.1/` is `127.0.0.1`.
pub fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

/// A URL as it may stand in a log: without its query, in which there may be a secret.
pub fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let Ok(mut parsed) = Url::parse(&url[..end]) else {
        return reports::printable(&url[..end], 200);
    };
    // Both fail only for URLs that cannot have them.
    let _cannot_have = (parsed.set_username(""), parsed.set_password(None));
    reports::printable(parsed.as_str(), 200)
}

fn check_sent(name: &str, text: &HeaderText) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    if SECRETS.iter().any(|secret| lower.contains(secret)) {
        return Err(format!(
            "`request-headers` has {name}: secrets do not belong into penstock.yaml, which many can \
             read; let the URL answer without, or ask with a `lambda` probe that holds the secret"
        ));
    }
    if SENDERS_OWN.contains(&lower.as_str()) {
        return Err(format!(
            "`request-headers` has {name}, which is not for a probe to set: leave it out"
        ));
    }
    check_header("request-headers", name, &text.0)
}

fn check_header(key: &str, name: &str, text: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(is_token) {
        return Err(format!(
            "`{key}` has '{name}': write a header's name, such as Content-Type"
        ));
    }
    if text.len() > HEADER_BYTES_MAX || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(format!(
            "`{key}` has a {name} that is no header's value: at most {HEADER_BYTES_MAX} visible \
             ASCII characters are allowed"
        ));
    }
    Ok(())
}

/// What is sent in a header. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeaderText(String);

impl HeaderText {
    /// For the request itself, and for nothing else.
    pub fn to_send(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderText(not shown)")
    }
}

/// Statuses, 100 to 599: one, a range, or several of both. 200 unless it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    /// Whether this status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }

    fn range(text: &str) -> Option<RangeInclusive<u16>> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| -> Option<u16> {
            let text = text.trim();
            let plain = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        let (from, to) = (number(from)?, number(to)?);
        let fits = from <= to && STATUSES.contains(&from) && STATUSES.contains(&to);
        fits.then_some(from..=to)
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200..=200])
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] if one.start() == one.end() => to.serialize_u16(*one.start()),
            _ => to.collect_seq(
                self.0
                    .iter()
                    .map(|range| Self(vec![range.clone()]).to_string()),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum One {
            Number(u64),
            Text(String),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            One(One),
            Several(Vec<One>),
        }
        let wrong = || {
            D::Error::custom(format!(
                "`status` must be a number such as 200, a range such as 200-299, or a list of at \
                 most {STATUSES_MAX} of them; {} to {} is allowed",
                STATUSES.start(),
                STATUSES.end()
            ))
        };
        let range = |one: One| match one {
            One::Number(number) => Self::range(&number.to_string()),
            One::Text(text) => Self::range(&text),
        };
        let ranges: Option<Vec<_>> = match Raw::deserialize(from).map_err(|_| wrong())? {
            Raw::One(one) => range(one).map(|range| vec![range]),
            Raw::Several(all) => all.into_iter().map(range).collect(),
        };
        let some = ranges.filter(|all| (1..=STATUSES_MAX).contains(&all.len()));
        some.map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_written_in_many_ways_and_survive_the_log() {
        for (written, inside, outside, kept) in [
            (json!(204), vec![204], vec![200, 205], json!(204)),
            (
                json!("200-299"),
                vec![200, 299],
                vec![199, 300],
                json!(["200-299"]),
            ),
            (
                json!([200, "301 - 308", "404"]),
                vec![200, 301, 308, 404],
                vec![201, 309],
                json!(["200", "301-308", "404"]),
            ),
        ] {
            let statuses: Statuses = serde_json::from_value(written).unwrap();
            assert!(inside.iter().all(|status| statuses.contains(*status)));
            assert!(!outside.iter().any(|status| statuses.contains(*status)));
            assert_eq!(serde_json::to_value(&statuses).unwrap(), kept);
            assert_eq!(serde_json::from_value::<Statuses>(kept).unwrap(), statuses);
        }
        for bad in [
            json!(99),
            json!(600),
            json!("ok"),
            json!("299-200"),
            json!([]),
            json!("200-"),
            json!(-1),
            json!({}),
            json!(null),
            json!(vec![200; STATUSES_MAX + 1]),
        ] {
            let error = serde_json::from_value::<Statuses>(bad.clone())
                .unwrap_err()
                .to_string();
            assert!(error.contains("a range such as 200-299"), "{bad}: {error}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_known_in_every_notation() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://127.0.0.1./",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://\u{ff11}27.0.0.1/",
            "HTTP:\\\\127.0.0.1\\",
            "http:127.0.0.1",
            "http://[0:0:0:0:0:0:0:1]/",
        ] {
            let error = check_url(url, false).unwrap_err();
            assert!(error.contains("allow-private: true"), "{url}: {error}");
            assert_eq!(check_url(url, true), Ok(()), "{url}");
        }
        for url in [
            "http://169.254.169.254/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[fd00:ec2::254]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://0/",
        ] {
            let error = check_url(url, true).unwrap_err();
            assert!(
                error.contains("no probe is ever sent there"),
                "{url}: {error}"
            );
        }
        for url in [
            "https://shop.example.com/health?a=b",
            "http://8.8.8.8/",
            "http://localhost/",
        ] {
            assert_eq!(check_url(url, false), Ok(()), "{url}");
        }
    }

    #[test]
    fn nothing_secret_prints() {
        assert_eq!(shown("https://u:p@shop/a?token=x#y"), "https://shop/a");
        assert_eq!(shown("no url?token=x"), "no url");
        let probe = json!({"url": "http://a/", "request-headers": {"X-Team": "quiet"}});
        let probe: HttpProbe = serde_json::from_value(probe).unwrap();
        assert!(!format!("{probe:?}").contains("quiet"));
        assert_eq!(probe.request_headers["X-Team"].to_send(), "quiet");
    }

    proptest! {
        #[test]
        fn every_notation_of_an_address_is_judged_as_the_address(bits: u32, low in 0_u32..1 << 24) {
            let address = std::net::Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = address.octets();
            let first = std::net::Ipv4Addr::from_bits(bits & 0xff00_0000 | low);
            for (written, meant) in [
                (format!("{bits}"), address),
                (format!("0x{bits:x}"), address),
                (format!("0{bits:o}"), address),
                (format!("0{a:o}.{b}.0x{c:x}.{d}"), address),
                (format!("{a}.{low}"), first),
            ] {
                let url = Url::parse(&format!("http://{written}:8080/x")).unwrap();
                prop_assert_eq!(literal(&url), Some(meant.into()), "{}", url);
            }
        }

        #[test]
        fn no_url_makes_the_check_panic(text: String, private: bool) {
            let _checked = (check_url(&text, private), shown(&text));
            let url = format!("http://{text}");
            let _checked = (check_url(&url, private), shown(&url));
        }
    }
}
