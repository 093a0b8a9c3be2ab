//! The images of a release, as CodePipeline's own files name them.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// Largest file that names images, in bytes: what CodePipeline allows `imagedefinitions.json`
/// (its user guide, image definitions file reference).
pub const IMAGE_FILE_BYTES_MAX: usize = 100 * 1024;

/// Most images that one file may name.
pub const IMAGES_MAX: usize = 20;

/// Longest tag of an image, in characters (OCI distribution specification).
const TAG_CHARS_MAX: usize = 128;

/// Longest name of a repository, in characters (ECR's API reference, RepositoryName).
const REPOSITORY_CHARS_MAX: usize = 256;

/// How much of somebody else's text an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// An image in a private ECR repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// The account that has it: 12 digits.
    pub registry: String,
    /// The region that has it, such as `eu-west-1`.
    pub region: String,
    /// Its repository, such as `shop/web`.
    pub repository: String,
    /// Which image of the repository.
    pub version: ImageVersion,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageVersion {
    /// The image that has this tag now.
    Tag(String),
    /// The one image with this digest: `sha256:` and 64 hexadecimal digits.
    Digest(String),
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            ImageVersion::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            ImageVersion::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl ImageRef {
    /// Reads `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY`, or the dual-stack name of the same,
    /// with `:TAG`, `@sha256:DIGEST` or both; the digest counts, and without either the tag is
    /// `latest`. None for an image that is kept elsewhere.
    pub fn parse(uri: &str) -> Option<Self> {
        let (host, path) = uri.split_once('/')?;
        let labels: Vec<_> = host.split('.').collect();
        let (registry, region) = match labels.as_slice() {
            [
                account,
                "dkr",
                "ecr" | "ecr-fips",
                region,
                "amazonaws",
                "com",
            ]
            | [
                account,
                "dkr",
                "ecr" | "ecr-fips",
                region,
                "amazonaws",
                "com",
                "cn",
            ]
            | [account, "dkr-ecr" | "dkr-ecr-fips", region, "on", "aws"] => (*account, *region),
            _ => return None,
        };
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, tag),
            None => (path, "latest"),
        };
        let version = match digest {
            Some(digest) => ImageVersion::Digest(digest.to_owned()),
            None => ImageVersion::Tag(tag.to_owned()),
        };
        let is_sound = is_account(registry)
            && is_region(region)
            && is_repository(repository)
            && is_tag(tag)
            && digest.is_none_or(is_digest);
        is_sound.then(|| Self {
            registry: registry.to_owned(),
            region: region.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What becomes part of a host's name holds nothing that could lead elsewhere.
fn is_region(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}

fn is_repository(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || b"._-/".contains(&byte);
    (2..=REPOSITORY_CHARS_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(plain)
}

fn is_tag(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TAG_CHARS_MAX).contains(&text.len()) && text.bytes().all(inner)
}

/// Whether this is `sha256:` and 64 hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The images that a file names, each once: `{"ImageURI": ".."}` as in `imageDetail.json`, or
/// `[{"name": "..", "imageUri": ".."}, ..]` as in `imagedefinitions.json`. Keys may be in any case,
/// and what else the file holds is passed over.
///
/// # Errors
///
/// What is wrong with the file called `path`, and what to write instead.
pub fn images(path: &str, bytes: &[u8]) -> Result<Vec<ImageRef>, String> {
    let wrong = |why: String| Err(format!("could not read the images in {path}: {why}"));
    if bytes.len() > IMAGE_FILE_BYTES_MAX {
        return wrong(format!(
            "it has more than {IMAGE_FILE_BYTES_MAX} bytes; name imageDetail.json or \
             imagedefinitions.json as `file`"
        ));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: Value = match serde_json::from_slice(bytes) {
        Ok(file) => file,
        Err(error) => return wrong(format!("it is not JSON: {error}; {SHAPES}")),
    };
    let entries = match &file {
        Value::Array(entries) => entries.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !(1..=IMAGES_MAX).contains(&entries.len()) {
        let count = entries.len();
        return wrong(format!(
            "it names {count} images: 1 to {IMAGES_MAX} are allowed"
        ));
    }
    let mut images = Vec::new();
    for entry in entries {
        let Some(uri) = uri(entry) else {
            return wrong(format!("an entry has no image; {SHAPES}"));
        };
        let Some(image) = ImageRef::parse(uri.trim()) else {
            return wrong(format!(
                "'{}' is in no private ECR repository, so ECR has no scan of it; write \
                 ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY with :TAG or @sha256:DIGEST, and \
                 leave other images out of the file",
                shown(uri)
            ));
        };
        if !images.contains(&image) {
            images.push(image);
        }
    }
    Ok(images)
}

/// The digest by which this names an image, `REPOSITORY@sha256:..` of any registry.
pub fn digest_of(image: &str) -> Option<&str> {
    let (_, digest) = image.trim().rsplit_once('@')?;
    is_digest(digest).then_some(digest)
}

/// The digests of the images that a file names by digest, in one of the shapes that [`images`] reads.
/// Nobody said that the file names images, so what is no such file names none.
pub fn digests(bytes: &[u8]) -> BTreeSet<String> {
    let file: Value = match bytes.len() {
        0..=IMAGE_FILE_BYTES_MAX => serde_json::from_slice(bytes).unwrap_or_default(),
        _ => Value::Null,
    };
    let entries = match &file {
        Value::Array(entries) => entries.as_slice(),
        one => std::slice::from_ref(one),
    };
    let digests = entries.iter().take(IMAGES_MAX).filter_map(uri);
    let digests = digests.filter_map(digest_of).map(str::to_owned);
    digests.collect()
}

/// What to write.
const SHAPES: &str = "write {\"ImageURI\": \"..\"} or [{\"name\": \"..\", \"imageUri\": \"..\"}]";

fn uri(entry: &Value) -> Option<&str> {
    let mut keys = entry.as_object()?.iter();
    let (_, uri) = keys.find(|(key, _)| key.eq_ignore_ascii_case("imageuri"))?;
    uri.as_str()
}

/// The beginning of somebody else's text, fit to print.
fn shown(text: &str) -> String {
    let start = text.chars().take(SHOWN_CHARS_MAX);
    start.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    fn read(text: &str) -> Result<Vec<String>, String> {
        let images = images("imageDetail.json", text.as_bytes())?;
        Ok(images.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_images_of_codepipelines_own_files_are_found() {
        let detail = format!(
            r#"{{"ImageSizeInBytes":"1","ImageTags":["v1"],"RegistryId":"123456789012","RepositoryName":"shop/web","ImageDigest":"{DIGEST}","ImageURI":"{HOST}/shop/web@{DIGEST}"}}"#
        );
        assert_eq!(read(&detail).unwrap(), [format!("shop/web@{DIGEST}")]);
        let definitions = format!(
            "\u{feff}[{{\"name\":\"web\",\"imageUri\":\"{HOST}/shop/web:v1\"}},\
             {{\"name\":\"db\",\"imageUri\":\" {HOST}/shop/db\"}},\
             {{\"name\":\"again\",\"imageUri\":\"{HOST}/shop/web:v1\"}}]"
        );
        assert_eq!(
            read(&definitions).unwrap(),
            ["shop/web:v1", "shop/db:latest"]
        );
    }

    #[test]
    fn every_way_to_write_an_image_in_ecr_is_understood() {
        for (uri, region, shown) in [
            (
                format!("{HOST}/shop/web:v1"),
                "eu-west-1",
                "shop/web:v1".to_owned(),
            ),
            (
                format!("{HOST}/web:v1@{DIGEST}"),
                "eu-west-1",
                format!("web@{DIGEST}"),
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/web:v1".to_owned(),
                "cn-north-1",
                "web:v1".to_owned(),
            ),
            (
                "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/web:v1".to_owned(),
                "us-east-1",
                "web:v1".to_owned(),
            ),
            (
                "123456789012.dkr-ecr.us-east-1.on.aws/web:v1".to_owned(),
                "us-east-1",
                "web:v1".to_owned(),
            ),
        ] {
            let image = ImageRef::parse(&uri).unwrap();
            assert_eq!(
                (image.registry.as_str(), image.region.as_str()),
                ("123456789012", region)
            );
            assert_eq!(image.to_string(), shown);
        }
    }

    #[test]
    fn an_image_that_could_lead_elsewhere_is_none() {
        for uri in [
            "nginx:1.27",
            "public.ecr.aws/nginx/nginx:1",
            "123456789012.dkr.ecr.evil.example.amazonaws.com/web:v1",
            "123456789012.dkr.ecr.EU.amazonaws.com/web:v1",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example/web:v1",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com/web:v1",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:a b",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/WEB:v1",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web@sha256:12",
            "",
        ] {
            assert_eq!(ImageRef::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_file_that_names_no_image_says_what_to_write() {
        let many = format!("[{}]", vec!["{}"; IMAGES_MAX + 1].join(","));
        for (text, part) in [
            ("", "it is not JSON"),
            ("{\"ImageURI\":", "it is not JSON"),
            (&"[".repeat(1_000), "it is not JSON"),
            ("[]", "it names 0 images"),
            (&many, "it names 21 images"),
            ("{}", "write {\"ImageURI\""),
            ("[7]", "write {\"ImageURI\""),
            ("{\"ImageURI\": 7}", "write {\"ImageURI\""),
            (
                "{\"ImageURI\": \"nginx\\u001b[2J\"}",
                "'nginx\\u{1b}[2J' is in no private",
            ),
            (
                &" ".repeat(IMAGE_FILE_BYTES_MAX + 1),
                "more than 102400 bytes",
            ),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(part), "{text:.50}: {why}");
            assert!(
                why.starts_with("could not read the images in imageDetail.json"),
                "{why}"
            );
        }
    }

    #[test]
    fn only_images_that_a_file_names_by_digest_are_known_by_one() {
        let detail = format!(r#"{{"ImageURI":"{HOST}/shop/web@{DIGEST}"}}"#);
        let both = format!(
            r#"[{{"name":"web","imageUri":"{HOST}/web:v1@{DIGEST}"}},{{"name":"x","imageUri":"nginx:1"}},
               {{"name":"y","imageUri":"nginx@{}"}}]"#,
            DIGEST.replace('0', "f")
        );
        for (text, count) in [
            (detail.as_str(), 1),
            (&both, 2),
            ("[]", 0),
            ("{", 0),
            ("7", 0),
            (r#"{"ImageURI":"web@sha256:12"}"#, 0),
            (&format!("{}{detail}", " ".repeat(IMAGE_FILE_BYTES_MAX)), 0),
        ] {
            assert_eq!(digests(text.as_bytes()).len(), count, "{text:.60}");
        }
    }

    #[test]
    fn an_error_repeats_little_of_a_hostile_file() {
        let text = format!("{{\"ImageURI\": \"{}\"}}", "x".repeat(50_000));
        assert!(read(&text).unwrap_err().len() < 1_000);
    }
}
