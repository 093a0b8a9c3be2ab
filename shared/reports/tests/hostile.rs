//! Reports that are broken, odd or made to do harm.

use std::error::Error;
use std::io::{self, Read};

use proptest::prelude::*;
use reports::limits::{XML_DEPTH_MAX, XML_TAG_BYTES_MAX};
use reports::{Content, Format, Position, ReadError, Report, TestReport};

fn read(bytes: &[u8]) -> Result<Report, ReadError> {
    reports::read("target/out.xml", bytes, None)
}

fn tests(bytes: &[u8]) -> TestReport {
    match read(bytes).unwrap().content {
        Content::Tests(report) => report,
        content => panic!("not of tests: {content:?}"),
    }
}

/// A report of one failing test, named `name` and written in `encoding`.
fn named(name: &str, declaration: &str) -> String {
    format!("{declaration}<testsuite><testcase name='{name}'><failure/></testcase></testsuite>")
}

#[test]
fn empty_truncated_malformed_and_unknown_are_told_apart_and_zero_tests_is_a_report() {
    type Check = fn(&Result<Report, ReadError>) -> bool;
    let cases: [(&str, Check); 17] = [
        ("", |read| matches!(read, Err(ReadError::Empty { .. }))),
        (" \r\n\t\0", |read| {
            matches!(read, Err(ReadError::Empty { .. }))
        }),
        ("\u{feff}\n", |read| {
            matches!(read, Err(ReadError::Empty { .. }))
        }),
        ("<testsuite", |read| {
            matches!(read, Err(ReadError::Truncated { .. }))
        }),
        ("<testsuite>", |read| {
            matches!(read, Err(ReadError::Truncated { .. }))
        }),
        ("<?xml version='1.0'?>", |read| {
            matches!(read, Err(ReadError::Truncated { .. }))
        }),
        ("<!", |read| {
            matches!(read, Err(ReadError::Truncated { .. }))
        }),
        ("<testsuite>&am", |read| {
            matches!(read, Err(ReadError::Truncated { .. }))
        }),
        ("<testsuite></testcase>", |read| {
            matches!(read, Err(ReadError::Malformed { .. }))
        }),
        ("<testsuite/><testsuite/>", |read| {
            matches!(read, Err(ReadError::Malformed { .. }))
        }),
        ("<testsuite/>trailing", |read| {
            matches!(read, Err(ReadError::Malformed { .. }))
        }),
        ("<testsuite><testcase name=a/></testsuite>", |read| {
            matches!(read, Err(ReadError::Malformed { .. }))
        }),
        ("<testsuite>a & b</testsuite>", |read| {
            matches!(read, Err(ReadError::Malformed { .. }))
        }),
        ("All tests passed", |read| {
            matches!(read, Err(ReadError::NoFormat { .. }))
        }),
        ("<html></html>", |read| {
            matches!(read, Err(ReadError::NoFormat { .. }))
        }),
        ("<testsuites/>", |read| read.is_ok()),
        ("\u{feff}\n<testsuite/>\n", |read| read.is_ok()),
    ];
    for (document, check) in cases {
        let read = read(document.as_bytes());
        assert!(check(&read), "{document:?}: {read:?}");
    }
}

#[test]
fn an_unmatched_file_is_told_which_formats_there_are() {
    let error = read(b"All tests passed").unwrap_err();
    let names: Vec<_> = Format::all().map(Format::name).collect();
    let expected = format!(
        "no format matched target/out.xml; set `format` to one of {}",
        names.join(", ")
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_format_that_is_asked_for_is_not_guessed() {
    let format: Format = "junit".parse().unwrap();
    let error = reports::read("out.xml", &b"<test-run/>"[..], Some(format)).unwrap_err();
    let expected = "could not read out.xml as junit: its root element is `test-run`; \
                    set `format` to one of junit, ";
    assert!(error.to_string().starts_with(expected), "{error}");
    // Nothing in this root tells it from Clover's, so it is not recognised by itself.
    let bare = &b"<coverage/>"[..];
    assert!(matches!(read(bare), Err(ReadError::NoFormat { .. })));
    let cobertura = Some("cobertura".parse().unwrap());
    assert!(reports::read("out.xml", bare, cobertura).is_ok());
}

#[test]
fn a_format_is_written_by_its_name() {
    for format in Format::all() {
        let json = serde_json::to_string(&format).unwrap();
        assert_eq!(json, format!("\"{format}\""));
        assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), format);
    }
    let error = "juint".parse::<Format>().unwrap_err();
    let expected = "`juint` is not a format; set `format` to one of junit, ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn an_error_says_where_it_is_and_why() {
    let document = "<testsuite>\n<testcase name='a'>\n</testsuite>";
    let error = read(document.as_bytes()).unwrap_err();
    let ReadError::Malformed { at, .. } = &error else {
        panic!("{error}")
    };
    let byte = document.len() as u64;
    assert_eq!(*at, Position { line: 3, byte });
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .contains("expected `</testcase>`")
    );
}

#[test]
fn a_file_name_is_made_safe_in_an_error() {
    let error = reports::read("a\u{1b}[2J\nb", &b""[..], None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not read a: it is empty"),
        "{error}"
    );
}

#[test]
fn a_doctype_is_not_fetched_and_one_with_entities_is_refused() {
    let bare =
        b"<!DOCTYPE coverage SYSTEM 'http://127.0.0.1:1/coverage-04.dtd'><coverage line-rate='1'/>";
    assert!(read(bare).is_ok());
    for document in [
        "<!DOCTYPE testsuite [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><testsuite>&x;</testsuite>",
        "<!DOCTYPE testsuite SYSTEM 'a' [ ]><testsuite/>",
        "<!DOCTYPE t [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><testsuite>&b;</testsuite>",
        "<!doctype testsuite [<!ENTITY % p SYSTEM 'x'> %p;]><testsuite/>",
    ] {
        let error = read(document.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ReadError::Entities { .. }),
            "{document}: {error}"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let nest = |depth: usize| "<testsuite>".repeat(depth) + &"</testsuite>".repeat(depth);
    assert!(read(nest(XML_DEPTH_MAX).as_bytes()).is_ok());
    let error = read(nest(XML_DEPTH_MAX + 1).as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

#[test]
fn a_tag_is_bounded_and_a_name_is_too() {
    let limit = XML_TAG_BYTES_MAX;
    for document in [
        named(&"n".repeat(limit), ""),
        format!("<testsuite><{}/></testsuite>", "n".repeat(2000)),
        format!("<testsuite><!DOCTYPE {}></testsuite>", "n".repeat(limit)),
        format!("<testsuite><?a {}?></testsuite>", "n".repeat(limit)),
    ] {
        let error = read(document.as_bytes()).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    }
    // As many attributes as fit: this ends soon only if looking for one is not quadratic.
    let attributes: String = (0..80_000).map(|index| format!(" a{index}=''")).collect();
    let document = format!("<testsuites><testsuite{attributes}/></testsuites>");
    assert!(read(document.as_bytes()).is_ok());
}

/// Bytes without end, of which no more than a few may be asked for.
struct Endless {
    head: io::Cursor<Vec<u8>>,
    body: io::Repeat,
    served: u64,
}

impl Endless {
    fn new(head: &str, body: u8) -> Self {
        Self {
            head: io::Cursor::new(head.into()),
            body: io::repeat(body),
            served: 0,
        }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.head.read(buffer)? {
            0 => self.body.read(buffer)?,
            count => count,
        };
        self.served += count as u64;
        Ok(count)
    }
}

#[test]
fn a_tag_without_end_is_given_up_early() {
    for head in [
        "<testsuite name='",
        "<testsuite><!DOCTYPE ",
        "<testsuite></",
        "<testsuite><?",
    ] {
        let mut endless = Endless::new(head, b'a');
        let error = reports::read("out.xml", &mut endless, None).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::TooLarge { .. } | ReadError::NoFormat { .. }
            ),
            "{error}"
        );
        assert!(
            endless.served < 4 * XML_TAG_BYTES_MAX as u64,
            "{head}: {}",
            endless.served
        );
    }
}

#[test]
fn what_a_test_printed_is_skipped_however_long_it_is() {
    let printed = "x ]]&gt; &amp; {\"a\":[1,[2]]}\n".repeat(100_000);
    let document = format!(
        "<testsuite><testcase name='a'><system-out>{printed}</system-out>\
         <system-err><![CDATA[{printed}]]></system-err><failure>first\n{printed}</failure>\
         </testcase><!-- {printed} --><testcase name='b'/></testsuite>"
    );
    let report = tests(document.as_bytes());
    assert_eq!((report.totals.tests, report.totals.failed), (2, 1));
    assert_eq!(report.failing[0].message, "first");
}

#[test]
fn a_report_is_read_in_the_encoding_it_declares() {
    let utf16 = |text: &str, bom: &[u8], bytes: fn(u16) -> [u8; 2]| {
        let units = text.encode_utf16().flat_map(bytes);
        bom.iter().copied().chain(units).collect::<Vec<u8>>()
    };
    let latin1 = |text: &str| text.chars().map(|char| char as u8).collect::<Vec<u8>>();
    let utf8 = |text: &str| text.as_bytes().to_vec();
    let declare = |encoding: &str| format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>");
    // Longer than what `quick-xml` looks at, and with the odd letter right after.
    let padded = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"{}?>",
        " ".repeat(100)
    );
    for bytes in [
        utf8(&named("é", "")),
        utf8(&named("é", &declare("utf-8"))),
        utf8(&named(
            "é",
            &("\u{feff}".to_owned() + &declare("ISO-8859-1")),
        )),
        // .NET's StringWriter declares this of what is then written as UTF-8.
        utf8(&named("é", &declare("utf-16"))),
        latin1(&named("é", &declare("ISO-8859-1"))),
        latin1(&named("é", &declare("windows-1252"))),
        latin1(&named("é", &padded)),
        utf16(
            &named("é", &declare("UTF-16")),
            b"\xff\xfe",
            u16::to_le_bytes,
        ),
        utf16(
            &named("é", &declare("UTF-16")),
            b"\xfe\xff",
            u16::to_be_bytes,
        ),
        utf16(&named("é", &declare("UTF-16LE")), b"", u16::to_le_bytes),
        utf16(&named("é", ""), b"\xfe\xff", u16::to_be_bytes),
    ] {
        assert_eq!(tests(&bytes).failing[0].name, "é", "{bytes:x?}");
    }
}

#[test]
fn bytes_that_are_not_in_the_encoding_are_malformed_and_an_unknown_encoding_is_refused() {
    let invalid = b"<testsuite><testcase name='\xe9'/></testsuite>";
    assert!(matches!(read(invalid), Err(ReadError::Malformed { .. })));
    for unknown in ["EBCDIC-INT", "ISO-2022-JP"] {
        let declaration = format!("<?xml version='1.0' encoding='{unknown}'?>");
        let error = read(named("a", &declaration).as_bytes()).unwrap_err();
        assert!(
            matches!(&error, ReadError::Encoding { label, .. } if label == unknown),
            "{error}"
        );
    }
}

#[test]
fn an_input_that_fails_is_unreadable_and_keeps_its_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    for head in ["", "<testsuite>"] {
        let input = head.as_bytes().chain(Broken);
        let error = reports::read("out.xml", input, None).unwrap_err();
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
    }
}

/// Pieces of documents, to make up odd ones.
const PIECES: [&str; 28] = [
    "<testsuites>",
    "</testsuites>",
    "<testsuite name='a'>",
    "</testsuite>",
    "<testcase name='a'>",
    "<testcase name='a'/>",
    "</testcase>",
    "<failure message='m'>",
    "</failure>",
    "<skipped/>",
    "<coverage line-rate='1'>",
    "</coverage>",
    "<class>",
    "</class>",
    "<method>",
    "</method>",
    "<line hits='1' condition-coverage='50% (1/2)'/>",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<?xml ",
    "?>",
    "<!DOCTYPE a",
    ">",
    "&#",
    "&lt;",
    "\u{1b}[",
];

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        for format in [None].into_iter().chain(Format::all().map(Some)) {
            let _ = reports::read("out.xml", bytes.as_slice(), format);
        }
    }

    #[test]
    fn arbitrary_pieces_of_documents_never_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60),
    ) {
        for format in [None].into_iter().chain(Format::all().map(Some)) {
            let _ = reports::read("out.xml", pieces.concat().as_bytes(), format);
        }
    }

    #[test]
    fn arbitrary_text_in_a_report_never_breaks_what_is_printed(name in any::<String>()) {
        let name = name.replace(['<', '&', '\'', '\0'], " ");
        let report = tests(named(&name, "").as_bytes());
        let told = &report.failing[0].name;
        prop_assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}
