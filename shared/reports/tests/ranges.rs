//! Which bytes of a zip are fetched, and what becomes of those that cannot be.

use std::cell::RefCell;
use std::io::{self, Cursor, Read, Write};
use std::ops::Range;
use std::rc::Rc;

use proptest::prelude::*;
use reports::limits::{GAP_BYTES_MAX, TAIL_BYTES};
use reports::{Archive, Content, Input, ReadError, Report};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

const PASSED: &[u8] = b"<testsuite><testcase name='a'/></testsuite>";

/// What was asked of an input.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Opened ranges.
    opened: Vec<Range<u64>>,
    /// Ranges as far as they were read, one for each opening.
    read: Vec<Range<u64>>,
}

/// An input that remembers, and that may break.
struct Recorder {
    bytes: Cursor<Vec<u8>>,
    seen: Rc<RefCell<Seen>>,
    /// Reads left before it breaks.
    reads_left: usize,
}

impl Recorder {
    fn new(zip: Vec<u8>) -> (Self, Rc<RefCell<Seen>>) {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let recorder = Self {
            bytes: Cursor::new(zip),
            seen: Rc::clone(&seen),
            reads_left: usize::MAX,
        };
        (recorder, seen)
    }

    fn note(&self, opened: Range<u64>) {
        let mut seen = self.seen.borrow_mut();
        seen.read.push(opened.start..opened.start);
        seen.opened.push(opened);
    }
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.reads_left.checked_sub(1) else {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "unplugged"));
        };
        self.reads_left = left;
        let count = self.bytes.read(buffer)?;
        if let Some(read) = self.seen.borrow_mut().read.last_mut() {
            read.end += count as u64;
        }
        Ok(count)
    }
}

impl Input for Recorder {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        let all = self.bytes.open_tail(most)?;
        self.note(all.saturating_sub(most)..all);
        Ok(all)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.note(bytes.clone());
        self.bytes.open(bytes)
    }
}

fn blank(count: u64) -> Vec<u8> {
    vec![b' '; usize::try_from(count).unwrap()]
}

fn zip_with(comment: &str, large: bool, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.set_comment(comment).unwrap();
    let options = SimpleFileOptions::default()
        .large_file(large)
        .compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip_with("", false, files)
}

fn file(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

/// A file that nobody asks for, too large to be skipped.
fn filler(name: &str) -> (String, Vec<u8>) {
    (name.to_owned(), blank(2 * TAIL_BYTES))
}

/// From a file's own header to what comes after it.
fn extent(bytes: &[u8], name: &str) -> Range<u64> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let end_of_all = zip.central_directory_start();
    let starts: Vec<_> = (0..zip.len())
        .map(|index| zip.by_index(index).unwrap().header_start())
        .chain([end_of_all])
        .collect();
    let start = zip.by_name(name).unwrap().header_start();
    start..*starts.iter().find(|&&other| other > start).unwrap()
}

fn tail(bytes: &[u8]) -> Range<u64> {
    let all = bytes.len() as u64;
    all.saturating_sub(TAIL_BYTES)..all
}

fn passed(report: Result<Report, ReadError>) -> u64 {
    match report.map(|report| report.content) {
        Ok(Content::Tests(report)) => report.totals.passed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_small_artifact_is_one_range() {
    let (input, seen) = Recorder::new(zip(&[file("a.xml", PASSED), file("b.xml", PASSED)]));
    let mut archive = Archive::open(input).unwrap();
    assert_eq!(passed(archive.report("b.xml", None)), 1);
    assert_eq!(passed(archive.report("a.xml", None)), 1);
    assert_eq!(seen.borrow().opened.len(), 1);
}

#[test]
fn a_file_is_one_range_and_nothing_else_is_fetched() {
    for (comment, large) in [("", false), ("", true), (&*"c".repeat(65_535), true)] {
        let files = [
            filler("1"),
            file("penstock.yaml", b"gates: {}"),
            filler("2"),
            file("out.xml", PASSED),
            filler("3"),
        ];
        let bytes = zip_with(comment, large, &files);
        let (input, seen) = Recorder::new(bytes.clone());
        let mut archive = Archive::open(input).unwrap();
        assert_eq!(passed(archive.report("out.xml", None)), 1);
        assert!(archive.read_small("penstock.yaml", 100).unwrap().is_some());
        let expected = [
            tail(&bytes),
            extent(&bytes, "out.xml"),
            extent(&bytes, "penstock.yaml"),
        ];
        assert_eq!(seen.borrow().opened, expected);
        assert_eq!(seen.borrow().read[1..], expected[1..]);
    }
}

#[test]
fn a_file_that_reaches_into_the_tail_is_fetched_up_to_there() {
    let long = [PASSED, &[b' '; 100_000]].concat();
    let last = ("last".to_owned(), blank(TAIL_BYTES - long.len() as u64 / 2));
    let bytes = zip(&[filler("1"), file("out.xml", &long), last]);
    let (input, seen) = Recorder::new(bytes.clone());
    let mut archive = Archive::open(input).unwrap();
    assert_eq!(passed(archive.report("out.xml", None)), 1);
    let up_to_the_tail = extent(&bytes, "out.xml").start..tail(&bytes).start;
    assert!(!up_to_the_tail.is_empty());
    assert_eq!(seen.borrow().opened, [tail(&bytes), up_to_the_tail]);
}

#[test]
fn a_list_larger_than_the_tail_is_one_range_more() {
    let mut files: Vec<_> = (0..5_000)
        .map(|number| (format!("{}/{number}", "d".repeat(50)), Vec::new()))
        .collect();
    files.push(file("out.xml", PASSED));
    let bytes = zip(&files);
    let zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let list = zip.central_directory_start();
    let (input, seen) = Recorder::new(bytes.clone());
    let mut archive = Archive::open(input).unwrap();
    assert_eq!(archive.names().count(), files.len());
    let rest = list..tail(&bytes).start;
    assert!(!rest.is_empty());
    assert_eq!(seen.borrow().read, [tail(&bytes), rest.clone()]);
    assert_eq!(passed(archive.report("out.xml", None)), 1);
    assert_eq!(seen.borrow().opened[2..], [extent(&bytes, "out.xml")]);
}

#[test]
fn neighbours_found_together_are_fetched_together() {
    let small = blank(GAP_BYTES_MAX / 2);
    let files = [
        filler("1"),
        file("z.xml", PASSED),
        file("small", &small),
        file("a.xml", PASSED),
        file("m.xml", PASSED),
        filler("2"),
        file("b.xml", PASSED),
        filler("3"),
    ];
    let bytes = zip(&files);
    let (input, seen) = Recorder::new(bytes.clone());
    let mut archive = Archive::open(input).unwrap();
    let names = archive.find(["*.xml"]).unwrap();
    assert_eq!(names, ["z.xml", "a.xml", "m.xml", "b.xml"]);
    for name in names {
        assert_eq!(passed(archive.report(&name, None)), 1);
    }
    let together = extent(&bytes, "z.xml").start..extent(&bytes, "m.xml").end;
    let expected = [tail(&bytes), together, extent(&bytes, "b.xml")];
    assert_eq!(seen.borrow().opened, expected);
    assert_eq!(seen.borrow().read, expected);
}

#[test]
fn what_is_left_of_a_report_that_is_given_up_is_not_fetched() {
    let wrong = [&b"<other>"[..], &blank(4 * GAP_BYTES_MAX)].concat();
    let files = [
        filler("1"),
        file("a.xml", &wrong),
        file("b.xml", PASSED),
        filler("2"),
    ];
    let bytes = zip(&files);
    let (input, seen) = Recorder::new(bytes.clone());
    let mut archive = Archive::open(input).unwrap();
    assert_eq!(archive.find(["*.xml"]).unwrap(), ["a.xml", "b.xml"]);
    assert!(archive.report("a.xml", None).is_err());
    assert_eq!(passed(archive.report("b.xml", None)), 1);
    let seen = seen.borrow();
    assert_eq!(seen.opened.last(), Some(&extent(&bytes, "b.xml")));
    assert!(seen.read[1].end < extent(&bytes, "b.xml").start);
}

#[test]
fn a_failure_of_the_input_is_never_taken_for_one_of_the_report() {
    let long = [PASSED, &[b' '; 100_000]].concat();
    let bytes = zip(&[filler("1"), file("out.xml", &long), filler("2")]);
    let mut whole = false;
    for reads_left in 0.. {
        let (mut input, _) = Recorder::new(bytes.clone());
        input.reads_left = reads_left;
        let report = Archive::open(input).and_then(|mut archive| archive.report("out.xml", None));
        match report.map_err(ReadError::into_input) {
            Err(Ok(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            Err(Err(other)) => panic!("after {reads_left} reads: {other}"),
            Ok(report) => {
                assert_eq!(passed(Ok(report)), 1);
                whole = true;
                assert!(reads_left > 3, "it breaks nowhere");
                break;
            }
        }
    }
    assert!(whole);
}

#[test]
fn an_input_that_ends_early_has_failed() {
    struct Short(Cursor<Vec<u8>>);
    impl Read for Short {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Input for Short {
        fn open_tail(&mut self, most: u64) -> io::Result<u64> {
            self.0.open_tail(most)
        }
        fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
            self.0.get_mut().truncate(bytes.start as usize + 10);
            self.0.open(bytes)
        }
    }
    let bytes = zip(&[filler("1"), file("out.xml", PASSED), filler("2")]);
    let mut archive = Archive::open(Short(Cursor::new(bytes))).unwrap();
    let error = archive.report("out.xml", None).unwrap_err();
    let error = error.into_input().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_file_on_disk_is_an_input() {
    let mut file = tempfile::tempfile().unwrap();
    let bytes = zip(&[filler("1"), self::file("out.xml", PASSED), filler("2")]);
    file.write_all(&bytes).unwrap();
    let mut archive = Archive::open(&mut file).unwrap();
    assert_eq!(passed(archive.report("out.xml", None)), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is asked for in the order it is found in: no byte is fetched twice, and none that
    /// is not the tail's, the list's, an asked file's, or between two of them that lie close.
    #[test]
    fn no_byte_is_fetched_twice_or_for_nothing(
        sizes in prop::collection::vec((0..3 * GAP_BYTES_MAX, any::<bool>()), 1..8),
        comment in "[a-z]{0,20}",
        large in any::<bool>(),
    ) {
        let name = |(number, (_, asked)): (usize, &(u64, bool))| match asked {
            true => format!("{number}.asked"),
            false => format!("{number}.not"),
        };
        let files: Vec<_> = sizes.iter().enumerate()
            .map(|(number, size)| (name((number, size)), blank(size.0)))
            .collect();
        let bytes = zip_with(&comment, large, &files);
        let (input, seen) = Recorder::new(bytes.clone());
        let mut archive = Archive::open(input).unwrap();
        let asked = archive.find(["*.asked"]).unwrap();
        for name in &asked {
            prop_assert!(archive.read_small(name, u64::MAX).unwrap().is_some());
        }
        let seen = seen.borrow();
        let mut read = seen.read.clone();
        read.sort_by_key(|range| range.start);
        prop_assert!(read.is_sorted_by(|a, b| a.end <= b.start), "{:?}", seen);
        let wanted: Vec<_> = asked.iter().map(|name| extent(&bytes, name)).collect();
        let tail = tail(&bytes);
        for range in &seen.opened[1..] {
            prop_assert!(wanted.iter().any(|file| file.start == range.start));
            prop_assert!(wanted.iter().any(|file| file.end.min(tail.start) == range.end));
        }
        // Gaps are the only bytes besides.
        let before_tail = |range: &Range<u64>| range.end.min(tail.start).saturating_sub(range.start);
        let fetched: u64 = seen.read[1..].iter().map(before_tail).sum();
        let needed: u64 = wanted.iter().map(before_tail).sum();
        prop_assert!(fetched <= needed + GAP_BYTES_MAX * asked.len() as u64);
        prop_assert!(fetched >= needed);
    }
}
