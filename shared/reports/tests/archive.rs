//! Zips, honest ones and others.

use std::error::Error;
use std::io::{Cursor, Write};

use proptest::prelude::*;
use reports::limits::{
    COMPRESSION_RATIO_EXEMPT_BYTES, COMPRESSION_RATIO_MAX, DIRECTORY_BYTES_MAX, ENTRIES_MAX,
    ENTRY_BYTES_MAX, TOTAL_BYTES_MAX,
};
use reports::{Archive, Content, Format, Hostile, ReadError};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

const PASSED: &[u8] = b"<testsuite><testcase name='a'/></testsuite>";

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn open(bytes: Vec<u8>) -> Result<Archive<Cursor<Vec<u8>>>, ReadError> {
    Archive::open(Cursor::new(bytes))
}

fn hostile(bytes: Vec<u8>) -> Hostile {
    match open(bytes).map(|_| ()) {
        Err(ReadError::Hostile { reason: why }) => why,
        other => panic!("{other:?}"),
    }
}

/// Why a file of the zip is not read.
fn hostile_file(bytes: Vec<u8>, name: &str) -> Hostile {
    match open(bytes).unwrap().report(name, None) {
        Err(ReadError::Hostile { reason: why }) => why,
        other => panic!("{other:?}"),
    }
}

/// The place of an entry's record in the list at the end of the zip.
fn record(zip: &[u8], name: &str) -> usize {
    let signature = b"PK\x01\x02";
    let mut places = (0..zip.len()).filter(|&at| zip[at..].starts_with(signature));
    places
        .find(|&at| zip[at + 46..].starts_with(name.as_bytes()))
        .unwrap()
}

/// Makes the list say that an entry has other sizes.
fn lie(zip: &mut [u8], name: &str, stored: u32, inflated: u32) {
    let at = record(zip, name);
    zip[at + 20..at + 24].copy_from_slice(&stored.to_le_bytes());
    zip[at + 24..at + 28].copy_from_slice(&inflated.to_le_bytes());
}

#[test]
fn a_report_is_read_out_of_the_zip() {
    let mut archive = open(zip(&[("target/out.xml", PASSED)])).unwrap();
    for format in [None, Some("junit".parse().unwrap())] {
        let Content::Tests(report) = archive.report("target/out.xml", format).unwrap().content
        else {
            panic!("no test report")
        };
        assert_eq!(report.totals.passed, 1);
    }
}

#[test]
fn an_error_names_the_file() {
    let mut archive = open(zip(&[("target/out.xml", b"fine")])).unwrap();
    let error = archive.report("target/out.xml", None).unwrap_err();
    let names: Vec<_> = Format::all().map(Format::name).collect();
    let expected = format!(
        "no format matched target/out.xml; set `format` to one of {}",
        names.join(", ")
    );
    assert_eq!(error.to_string(), expected);
    let error = archive.report("target/other.xml", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not find target/other.xml in the artifact"
    );
}

#[test]
fn a_star_stays_within_a_folder_and_two_do_not() {
    let names = [
        "a.xml",
        "target/b.xml",
        "target/deep/c.xml",
        "target/deep/d.txt",
        "x/target/e.xml",
    ];
    let files: Vec<_> = names.iter().rev().map(|name| (*name, PASSED)).collect();
    let mut archive = open(zip(&files)).unwrap();
    assert!(archive.names().eq(names));
    for (globs, found) in [
        (vec!["*.xml"], vec!["a.xml"]),
        (vec!["target/*.xml"], vec!["target/b.xml"]),
        (vec!["./target/*.xml"], vec!["target/b.xml"]),
        (
            vec!["target/**/*.xml"],
            vec!["target/b.xml", "target/deep/c.xml"],
        ),
        (
            vec!["**/target/**"],
            vec![
                "target/b.xml",
                "target/deep/c.xml",
                "target/deep/d.txt",
                "x/target/e.xml",
            ],
        ),
        (
            vec!["a.xml", "**/?.txt"],
            vec!["a.xml", "target/deep/d.txt"],
        ),
        (
            vec!["**/{b,c}.xml"],
            vec!["target/b.xml", "target/deep/c.xml"],
        ),
        (vec!["*"], vec!["a.xml"]),
        (vec!["A.XML"], vec![]),
        (vec![], vec![]),
    ] {
        let mut names = archive.find(&globs).unwrap();
        names.sort();
        assert_eq!(names, found, "{globs:?}");
    }
    let error = archive.find(["a.xml", "[a"]).unwrap_err();
    assert!(
        matches!(&error, ReadError::Glob { glob, .. } if glob == "[a"),
        "{error}"
    );
}

#[test]
fn a_small_file_is_read_whole_or_not_at_all() {
    let mut archive = open(zip(&[("penstock.yaml", b"gate: {}"), ("folder/a", b"")])).unwrap();
    assert_eq!(
        archive.read_small("penstock.yaml", 8).unwrap().unwrap(),
        b"gate: {}"
    );
    assert_eq!(archive.read_small("penstock.yml", 8).unwrap(), None);
    assert_eq!(archive.read_small("folder", 8).unwrap(), None);
    let error = archive.read_small("penstock.yaml", 7).unwrap_err();
    assert!(
        matches!(error, ReadError::TooLarge { limit: 7, .. }),
        "{error}"
    );
}

#[test]
fn a_file_has_the_time_at_which_it_was_changed() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let at = zip::DateTime::from_date_and_time(2026, 11, 23, 10, 59, 58).unwrap();
    let options = SimpleFileOptions::default();
    writer
        .start_file("a", options.last_modified_time(at))
        .unwrap();
    writer
        .start_file("b", options.last_modified_time(zip::DateTime::DEFAULT))
        .unwrap();
    let archive = open(writer.finish().unwrap().into_inner()).unwrap();
    let changed = archive.modified("a").map(|at| at.to_string());
    assert_eq!(changed.as_deref(), Some("2026-11-23T10:59:58Z"));
    let earliest = archive.modified("b").map(|at| at.to_string());
    assert_eq!(earliest.as_deref(), Some("1980-01-01T00:00:00Z"));
    assert_eq!(archive.modified("c"), None);
}

#[test]
fn a_diff_is_read_out_of_the_zip() {
    let diff = b"--- a/x.rs\n+++ b/x.rs\n@@ -1 +1,2 @@\n a\n+b\n";
    let mut archive = open(zip(&[("change.diff", diff)])).unwrap();
    let read = archive.diff("change.diff").unwrap().unwrap();
    assert_eq!(read.files().next().unwrap(), ("x.rs", &[2..=2][..]));
    assert_eq!(archive.diff("other.diff").unwrap(), None);
}

#[test]
fn directories_are_not_files_and_symbolic_links_are_found_and_never_read() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    writer.add_directory("folder", options).unwrap();
    writer
        .add_symlink("link.xml", "/etc/passwd", options)
        .unwrap();
    writer.start_file("real.xml", options).unwrap();
    let mut archive = open(writer.finish().unwrap().into_inner()).unwrap();
    assert!(archive.names().eq(["link.xml", "real.xml"]));
    assert_eq!(archive.find(["*.xml"]).unwrap().len(), 2);
    let error = archive.report("link.xml", None).unwrap_err();
    assert!(matches!(error, ReadError::Link { .. }), "{error}");
}

#[test]
fn a_zip_within_the_zip_is_not_opened() {
    let inner = zip(&[("out.xml", PASSED)]);
    let mut archive = open(zip(&[("inner.zip", &inner)])).unwrap();
    assert!(archive.names().eq(["inner.zip"]));
    let error = archive.report("inner.zip", None).unwrap_err();
    assert!(matches!(error, ReadError::NoFormat { .. }), "{error}");
}

#[test]
fn a_name_that_leads_out_is_hostile() {
    for name in [
        "../out.xml",
        "/etc/passwd",
        "a/../../b",
        "C:/out.xml",
        "..\\out.xml",
    ] {
        let bytes = zip(&[("fine.xml", PASSED), (name, PASSED)]);
        let expected = Hostile::Escapes {
            name: name.to_owned(),
        };
        assert_eq!(hostile(bytes), expected, "{name}");
    }
}

#[test]
fn two_entries_of_one_name_are_hostile() {
    assert_eq!(
        hostile(zip(&[("a/b.xml", b""), ("a\\b.xml", b"")])),
        Hostile::Duplicate
    );
    // No honest tool writes this one, so one name is overwritten by the other.
    let mut bytes = zip(&[("aaaa.xml", b""), ("bbbb.xml", b"")]);
    let at = record(&bytes, "bbbb.xml");
    bytes[at + 46..at + 54].copy_from_slice(b"aaaa.xml");
    assert_eq!(hostile(bytes), Hostile::Duplicate);
}

#[test]
fn an_encrypted_entry_is_hostile() {
    let mut bytes = zip(&[("out.xml", PASSED)]);
    let at = record(&bytes, "out.xml");
    bytes[at + 8] |= 1;
    let name = "out.xml".to_owned();
    assert_eq!(hostile_file(bytes, "out.xml"), Hostile::Encrypted { name });
}

#[test]
fn more_entries_than_allowed_are_hostile() {
    let many = |count: usize| {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for index in 0..count {
            writer.start_file(index.to_string(), options).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    let expected = Hostile::Entries {
        entries: ENTRIES_MAX + 1,
        limit: ENTRIES_MAX,
    };
    assert_eq!(hostile(many(ENTRIES_MAX + 1)), expected);
    assert!(open(many(1000)).is_ok());
}

#[test]
fn a_list_of_entries_beyond_its_bound_is_hostile() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let long = "n".repeat(usize::from(u16::MAX) - 100);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for index in 0..=DIRECTORY_BYTES_MAX / long.len() as u64 {
        writer
            .start_file(format!("{long}{index}"), options)
            .unwrap();
    }
    let limit = DIRECTORY_BYTES_MAX;
    let why = hostile(writer.finish().unwrap().into_inner());
    assert_eq!(why, Hostile::Directory { limit });
}

#[test]
fn an_entry_that_says_it_inflates_beyond_its_bound_is_hostile() {
    let name = || "out.xml".to_owned();
    let mut bytes = zip(&[("out.xml", PASSED)]);
    let too_many = u32::try_from(ENTRY_BYTES_MAX + 1).unwrap();
    lie(&mut bytes, "out.xml", too_many, too_many);
    let why = hostile_file(bytes, "out.xml");
    assert!(
        matches!(&why, Hostile::EntryBytes { name: of, .. } if *of == name()),
        "{why}"
    );

    let mut bytes = zip(&[("out.xml", PASSED)]);
    let bomb = u32::try_from(2 * COMPRESSION_RATIO_EXEMPT_BYTES).unwrap();
    lie(&mut bytes, "out.xml", 1000, bomb);
    let limit = COMPRESSION_RATIO_MAX;
    assert_eq!(
        hostile_file(bytes, "out.xml"),
        Hostile::Ratio {
            name: name(),
            limit
        }
    );
}

#[test]
fn a_real_bomb_is_hostile() {
    let zeros = vec![0; usize::try_from(COMPRESSION_RATIO_EXEMPT_BYTES).unwrap() + 1];
    let why = hostile_file(zip(&[("out.xml", &zeros)]), "out.xml");
    assert!(matches!(why, Hostile::Ratio { .. }), "{why}");
}

#[test]
fn what_is_not_asked_for_may_be_anything() {
    let zeros = vec![0; usize::try_from(COMPRESSION_RATIO_EXEMPT_BYTES).unwrap() + 1];
    let mut bytes = zip(&[("out.xml", PASSED), ("zeros", &zeros), ("secret", b"x")]);
    let at = record(&bytes, "secret");
    bytes[at + 8] |= 1;
    assert!(open(bytes).unwrap().report("out.xml", None).is_ok());
}

#[test]
fn reports_that_together_inflate_beyond_the_bound_are_hostile() {
    let each = u32::try_from(ENTRY_BYTES_MAX).unwrap();
    let count = TOTAL_BYTES_MAX / ENTRY_BYTES_MAX;
    let mut bytes = zip(&[("out.xml", PASSED)]);
    lie(&mut bytes, "out.xml", each, each);
    let mut archive = open(bytes).unwrap();
    for _ in 0..count {
        let error = archive.report("out.xml", None).unwrap_err();
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
    }
    let error = archive.report("out.xml", None).unwrap_err();
    let limit = TOTAL_BYTES_MAX;
    let too_much =
        matches!(error, ReadError::Hostile { reason: why } if why == Hostile::TotalBytes { limit });
    assert!(too_much);
}

#[test]
fn an_entry_that_inflates_to_more_than_it_says_is_not_read_on() {
    let long = [PASSED, &[b' '; 100_000]].concat();
    let mut bytes = zip(&[("out.xml", &long)]);
    let at = record(&bytes, "out.xml");
    let stored = u32::from_le_bytes(bytes[at + 20..at + 24].try_into().unwrap());
    lie(&mut bytes, "out.xml", stored, 50);
    let error = open(bytes).unwrap().report("out.xml", None).unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
    let source = error.source().unwrap().to_string();
    assert!(source.contains("larger than the list"), "{source}");
}

#[test]
fn a_damaged_entry_is_unreadable_and_not_a_report() {
    let mut bytes = zip(&[("out.xml", PASSED)]);
    let at = record(&bytes, "out.xml");
    bytes[at + 16] ^= 1;
    let error = open(bytes).unwrap().report("out.xml", None).unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn a_file_that_is_not_as_the_list_says_is_unreadable() {
    let long = [PASSED, &[b' '; 1000]].concat();
    for (at_byte, xor, part) in [
        (24, 1, "than the list of entries says"), // its size
        (10, 12 ^ 8, "compression 12"),
        (42, 1, "not where the list"), // its place
    ] {
        let mut bytes = zip(&[("other.xml", PASSED), ("out.xml", &long)]);
        let at = record(&bytes, "out.xml");
        bytes[at + at_byte] ^= xor;
        let error = open(bytes).unwrap().report("out.xml", None).unwrap_err();
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(part), "{source}");
    }
}

#[test]
fn entries_that_overlap_do_not_multiply() {
    // The list gives the second entry the place of the first one's bytes.
    let long: Vec<u8> = [PASSED, &[b' '; 1000]].concat();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for name in ["a.xml", "b.xml"] {
        writer.start_file(name, stored).unwrap();
        writer.write_all(&long).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    let at = record(&bytes, "b.xml");
    bytes[at + 42..at + 46].copy_from_slice(&100_u32.to_le_bytes());
    let error = open(bytes).unwrap().report("a.xml", None).unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
}

#[test]
fn an_end_that_does_not_fit_its_list_is_not_read() {
    let whole = zip(&[("a.xml", PASSED), ("b.xml", PASSED)]);
    let end = whole.len() - 22;
    for (at_byte, value) in [
        (4, 1),  // a part of several
        (8, 1),  // entries in this part
        (10, 1), // entries
        (12, 1), // bytes of the list
        (13, 255),
        (16, 255), // place of the list
        (20, 1),   // bytes of the comment
    ] {
        let mut bytes = whole.clone();
        bytes[end + at_byte] = value;
        let opened = open(bytes).map(|_| ());
        assert!(
            matches!(opened, Err(ReadError::NotAZip { .. })),
            "{at_byte}"
        );
    }
    for entries in [1, 3] {
        let mut bytes = whole.clone();
        bytes[end + 8] = entries;
        bytes[end + 10] = entries;
        let opened = open(bytes).map(|_| ());
        assert!(
            matches!(opened, Err(ReadError::NotAZip { .. })),
            "{entries}"
        );
    }
}

#[test]
fn names_in_an_unknown_code_page_stay_apart() {
    let mut bytes = zip(&[("a1.xml", PASSED), ("a2.xml", PASSED)]);
    for (name, byte) in [("a1.xml", 0x80), ("a2.xml", 0x81)] {
        let at = record(&bytes, name);
        bytes[at + 47] = byte;
    }
    let mut archive = open(bytes).unwrap();
    assert!(archive.names().eq(["a\u{80}.xml", "a\u{81}.xml"]));
    assert_eq!(archive.find(["a*.xml"]).unwrap().len(), 2);
}

#[test]
fn what_is_not_a_zip_is_told_so() {
    for bytes in [&b""[..], b"not a zip", PASSED] {
        let error = open(bytes.to_vec()).map(|_| ()).unwrap_err();
        assert!(matches!(error, ReadError::NotAZip { .. }), "{error}");
    }
    let whole = zip(&[("out.xml", PASSED)]);
    let cut = whole[..whole.len() - 10].to_vec();
    assert!(matches!(open(cut), Err(ReadError::NotAZip { .. })));
}

/// How a zip is written.
#[derive(Debug, Clone)]
struct Written {
    files: Vec<(Vec<u8>, bool, bool)>,
    comment: String,
    before: Vec<u8>,
    streamed: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let bytes = prop::collection::vec(any::<u8>(), 0..3000);
    let files = prop::collection::vec((bytes, any::<bool>(), any::<bool>()), 0..8);
    let before = prop::collection::vec(any::<u8>(), 0..50);
    (files, "[ -~]{0,40}", before, any::<bool>()).prop_map(|(files, comment, before, streamed)| {
        Written {
            files,
            comment,
            before,
            streamed,
        }
    })
}

impl Written {
    fn zip(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.streamed {
            self.write(ZipWriter::new_stream(&mut bytes));
        } else {
            let mut cursor = Cursor::new(&mut bytes);
            self.write(ZipWriter::new(&mut cursor));
        }
        [self.before.clone(), bytes].concat()
    }

    fn write<W: Write + std::io::Seek>(&self, mut writer: ZipWriter<W>) {
        writer.set_comment(self.comment.clone()).unwrap();
        for (number, (bytes, deflated, large)) in self.files.iter().enumerate() {
            let options = SimpleFileOptions::default()
                .large_file(*large)
                .compression_method(match deflated {
                    true => CompressionMethod::Deflated,
                    false => CompressionMethod::Stored,
                });
            writer
                .start_file(format!("ä/{number}.xml"), options)
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
    }
}

proptest! {
    #[test]
    fn a_zip_with_any_byte_changed_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = zip(&[("target/out.xml", PASSED), ("penstock.yaml", b"gate: {}")]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(mut archive) = open(bytes) {
            let names: Vec<_> = archive.names().map(str::to_owned).collect();
            for name in names {
                let _ = archive.report(&name, None);
                let _ = archive.read_small(&name, 100);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_however_it_is_zipped(written in written()) {
        let mut archive = open(written.zip()).unwrap();
        prop_assert_eq!(archive.names().count(), written.files.len());
        for (number, (bytes, ..)) in written.files.iter().enumerate() {
            let read = archive.read_small(&format!("ä/{number}.xml"), 10_000).unwrap();
            prop_assert_eq!(read.as_ref(), Some(bytes));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = open(bytes);
    }
}
