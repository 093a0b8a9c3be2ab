//! Keeps what the XML parser has to hold at once small, and from it what nobody wants.
//!
//! `quick-xml` collects a whole tag, text or CDATA section before it hands it out, so a test that
//! prints 200 MB would cost 200 MB. [`Skim`] sits below it and takes out what exceeds
//! [`XML_TEXT_BYTES_MAX`] of any text or CDATA section, and all of comments and of text that nobody
//! wants, leaving the document as well-formed as it is. A tag cannot be shortened: one above
//! [`XML_TAG_BYTES_MAX`] is an error.
//!
//! Where the parser is between two events, a tag, a text or a section begins, or a text goes on
//! after a reference. So tags need not be understood here, and of the others only the end is
//! searched for.

use std::io::{self, BufRead, Read};

use memchr::{memchr, memchr2, memmem, memrchr};

use super::window::Window;
use crate::error::Position;
use crate::limits::{TooMuch, XML_TAG_BYTES_MAX, XML_TEXT_BYTES_MAX};

/// Longest `&reference;` that is kept whole, in bytes.
const REFERENCE_BYTES_MAX: usize = 32;

/// What is looked at of a text to see where it is to be cut.
const TEXT_REACH_BYTES: usize = XML_TEXT_BYTES_MAX + REFERENCE_BYTES_MAX;

/// What ends a text.
const TEXT_END: &[u8] = b"<";

/// A comment or a CDATA section.
struct Section {
    opening: &'static [u8],
    /// Where in it the parser begins to look for the end: also in one that is not opened properly.
    inside: usize,
    end: &'static [u8],
}

const CDATA: Section = Section {
    opening: b"<![CDATA[",
    inside: 3,
    end: b"]]>",
};

const COMMENT: Section = Section {
    opening: b"<!--",
    inside: 4,
    end: b"-->",
};

/// A reader of UTF-8 with what is overlong or not wanted taken out.
pub(super) struct Skim<R> {
    window: Window<R>,
    place: Place,
    /// How many more bytes what the parser is collecting may have.
    room: usize,
}

/// What the parser gets next.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// All that it asks for.
    Whole,
    /// Text: so many bytes, which are at hand, and nothing more of it.
    Text { keep: usize },
    /// A section: so many bytes, which are at hand, and then what begins with `end`.
    Section { keep: usize, end: &'static [u8] },
}

impl<R: Read> Skim<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            window: Window::new(inner),
            place: Place::Whole,
            room: XML_TAG_BYTES_MAX,
        }
    }

    /// How far the parser has read.
    pub(super) fn position(&self) -> Position {
        self.window.position()
    }

    /// The parser is about to collect something new. Where text is not wanted it gets none but the
    /// references in it, as it knows what is wrong with them.
    pub(super) fn begin_event(&mut self, wants_text: bool) {
        self.room = XML_TAG_BYTES_MAX;
        if !matches!(self.place, Place::Text { .. }) {
            self.place = self.look(wants_text);
        }
        while let Place::Text { keep } = self.place {
            let skipped = match wants_text {
                true => 0,
                false => memchr(b'&', &self.window.bytes()[..keep]).unwrap_or(keep),
            };
            self.window.consume(skipped);
            if skipped < keep {
                let keep = keep - skipped;
                self.place = Place::Text { keep };
                return;
            }
            self.drop_until(TEXT_END);
            self.place = self.look(wants_text);
        }
    }

    /// What comes next, where anything may.
    fn look(&mut self, wants_text: bool) -> Place {
        let text_max = match wants_text {
            true => XML_TEXT_BYTES_MAX,
            false => 0,
        };
        match self.window.reach(CDATA.opening.len()) {
            [] => Place::Whole,
            [b'<', b'!', b'[', ..] => self.look_into(&CDATA, text_max),
            [b'<', b'!', b'-', ..] => self.look_into(&COMMENT, 0),
            [b'<', ..] => Place::Whole,
            [..] => self.look_along(),
        }
    }

    /// A section comes next.
    fn look_into(&mut self, section: &Section, text_max: usize) -> Place {
        let keep_max = section.opening.len() + text_max;
        let found = self.find(section.inside, keep_max, section.end);
        match found {
            Some(_) => Place::Whole,
            None => Place::Section {
                keep: char_boundary(self.window.bytes(), keep_max),
                end: section.end,
            },
        }
    }

    /// A text comes next. One that nobody wants has the same length: beyond it references are
    /// dropped either way.
    fn look_along(&mut self) -> Place {
        let found = self.find(0, XML_TEXT_BYTES_MAX, TEXT_END);
        let keep = found.unwrap_or_else(|| cut(self.window.reach(TEXT_REACH_BYTES)));
        Place::Text { keep }
    }

    /// Where between `from` and `to` an end begins. Nearly always it is at hand.
    fn find(&mut self, from: usize, to: usize, end: &[u8]) -> Option<usize> {
        for reach in [0, to + end.len()] {
            let bytes = self.window.reach(reach);
            let bytes = &bytes[..bytes.len().min(to + end.len())];
            if let Some(place) = first(bytes.get(from..)?, end) {
                return Some(from + place);
            }
        }
        None
    }

    fn drop_until(&mut self, end: &[u8]) {
        loop {
            let bytes = self.window.reach(end.len());
            if let Some(place) = first(bytes, end) {
                return self.window.consume(place);
            }
            if bytes.len() < end.len() {
                let count = bytes.len();
                return self.window.consume(count);
            }
            // The last ones can be the beginning of the end.
            let count = bytes.len() - (end.len() - 1);
            self.window.consume(count);
        }
    }
}

/// Where `wanted` first begins.
fn first(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    match wanted {
        [byte] => memchr(*byte, bytes),
        _ => memmem::find(bytes, wanted),
    }
}

/// How much is kept of a text that is too long, or that the document ends with: no character and no
/// reference is cut in two.
fn cut(text: &[u8]) -> usize {
    let keep = char_boundary(text, XML_TEXT_BYTES_MAX);
    let reference = memrchr(b'&', &text[..keep]).and_then(|begin| {
        let most = text.len().min(begin + REFERENCE_BYTES_MAX);
        let end = begin + memchr2(b';', b'<', &text[begin..most])?;
        (text[end] == b';').then_some(end + 1)
    });
    keep.max(reference.unwrap_or(0))
}

/// The last boundary between characters that is not beyond `most`.
fn char_boundary(text: &[u8], most: usize) -> usize {
    let begins_char = |&at: &usize| {
        let byte = text.get(at);
        byte.is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000)
    };
    let most = most.min(text.len());
    (0..=most).rev().find(begins_char).unwrap_or(0)
}

impl<R: Read> BufRead for Skim<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.place {
            Place::Text { keep: 0 } => {
                self.drop_until(TEXT_END);
                self.place = Place::Whole;
            }
            Place::Section { keep: 0, end } => {
                self.drop_until(end);
                self.place = Place::Whole;
            }
            Place::Whole | Place::Text { .. } | Place::Section { .. } => {}
        }
        let bytes = self.window.next()?;
        let keep = match self.place {
            Place::Whole => bytes.len(),
            Place::Text { keep } | Place::Section { keep, .. } => keep,
        };
        if self.room == 0 && !bytes.is_empty() {
            let what = "size in bytes of a tag";
            let limit = XML_TAG_BYTES_MAX as u64;
            return Err(TooMuch { what, limit }.into());
        }
        Ok(&bytes[..keep.min(self.room)])
    }

    fn consume(&mut self, count: usize) {
        self.room -= count;
        self.window.consume(count);
        match &mut self.place {
            Place::Whole => {}
            Place::Text { keep } | Place::Section { keep, .. } => *keep -= count,
        }
    }
}

impl<R: Read> Read for Skim<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;
    use proptest::prelude::*;

    /// Gives at most so many bytes at once.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len().min(self.1);
            self.0.read(&mut into[..count])
        }
    }

    /// The events of a document up to its end or its first error.
    fn events<R: BufRead>(reader: R, mut begin_event: impl FnMut(&mut R)) -> Vec<String> {
        let mut reader = Reader::from_reader(reader);
        let mut buffer = Vec::new();
        let mut events = Vec::new();
        loop {
            buffer.clear();
            begin_event(reader.get_mut());
            match reader.read_event_into(&mut buffer) {
                Ok(Event::Eof) => return events,
                Ok(Event::Comment(_)) => events.push("a comment".to_owned()),
                Ok(event) => events.push(format!("{event:?}")),
                Err(error) => {
                    events.push(error.to_string());
                    return events;
                }
            }
        }
    }

    fn skimmed(document: &str, read_bytes: usize, wants_text: bool) -> Vec<String> {
        let skim = Skim::new(Pieces(document.as_bytes(), read_bytes));
        events(skim, |skim| skim.begin_event(wants_text))
    }

    /// The text of the only element, as far as it is kept.
    fn text_kept(text: &str) -> String {
        let document = format!("<a>{text}</a>");
        let mut reader = Reader::from_reader(Skim::new(document.as_bytes()));
        let mut buffer = Vec::new();
        let mut kept = String::new();
        loop {
            buffer.clear();
            reader.get_mut().begin_event(true);
            match reader.read_event_into(&mut buffer) {
                Ok(Event::Text(text)) => kept += &text,
                Ok(Event::CData(text)) => kept += &text,
                Ok(Event::GeneralRef(reference)) => kept += &format!("&{};", &*reference),
                Ok(Event::Eof) => return kept,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_rest_of_a_long_text_is_taken_out_and_what_follows_stays() {
        let long = "x]- é".repeat(XML_TEXT_BYTES_MAX);
        let kept = &long[..XML_TEXT_BYTES_MAX];
        for (text, kept) in [
            (format!("{long}<b/>"), kept.to_owned()),
            (format!("<![CDATA[{long}]]><b/>"), kept.to_owned()),
            (format!("<!--{long}--><b/>"), String::new()),
            (format!("{long}<b/>{long}"), kept.repeat(2)),
        ] {
            // The texts are too long to be shown.
            assert!(text_kept(&text) == kept, "{}", &text[..20]);
        }
    }

    #[test]
    fn neither_a_character_nor_a_reference_is_cut_in_two() {
        let fill = "x".repeat(XML_TEXT_BYTES_MAX - 1);
        for (text, kept) in [
            ("éé", ""),
            ("&lt;&lt;", "&lt;"),
            ("xé", "x"),
            ("x&lt;", "x"),
        ] {
            assert!(
                text_kept(&format!("{fill}{text}")) == format!("{fill}{kept}"),
                "{text}"
            );
        }
        let references = "&lt;".repeat(XML_TEXT_BYTES_MAX);
        assert!(text_kept(&references) == references[..XML_TEXT_BYTES_MAX]);
    }

    #[test]
    fn a_reference_that_never_ends_does_not_keep_the_text() {
        for wants_text in [false, true] {
            let endless = "&".to_owned() + &"a".repeat(2 * XML_TEXT_BYTES_MAX);
            let mut skim = Skim::new(endless.as_bytes());
            skim.begin_event(wants_text);
            let kept = io::copy(&mut skim, &mut io::sink()).unwrap();
            assert!(kept <= (XML_TEXT_BYTES_MAX + REFERENCE_BYTES_MAX) as u64);
        }
    }

    #[test]
    fn a_tag_that_never_ends_is_an_error() {
        let document = "<".to_owned() + &"a".repeat(2 * XML_TAG_BYTES_MAX);
        let mut skim = Skim::new(document.as_bytes());
        let error = io::copy(&mut skim, &mut io::sink()).unwrap_err();
        assert!(TooMuch::inside(&error).is_some());
    }

    #[test]
    fn the_position_counts_what_was_taken_out() {
        let text = "x\n".repeat(XML_TEXT_BYTES_MAX);
        let document = format!("<a>\n{text}\n<!--{text}--><![CDATA[{text}]]></a>");
        let expected = Position {
            line: document.matches('\n').count() as u64 + 1,
            byte: document.len() as u64,
        };
        for wants_text in [false, true] {
            let mut skim = Skim::new(document.as_bytes());
            let mut position = Position::START;
            events(&mut skim, |skim| {
                skim.begin_event(wants_text);
                position = skim.position();
            });
            assert_eq!(position, expected);
        }
    }

    const PARTS: [&str; 24] = [
        "<",
        ">",
        "!",
        "--",
        "[",
        "]]",
        "]",
        "?",
        "&",
        ";",
        "'",
        "\"",
        "a",
        "é",
        " ",
        "<a>",
        "</a>",
        "<a/>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "&lt;",
        "\n",
    ];

    fn documents() -> impl Strategy<Value = String> {
        let parts = prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..60);
        parts.prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_short_is_read_as_it_is(document in documents(), read_bytes in 1..50_usize) {
            let plain = events(document.as_bytes(), |_| {});
            prop_assert_eq!(skimmed(&document, read_bytes, true), plain);
        }

        #[test]
        fn only_text_is_missing_where_none_is_wanted(
            document in documents(),
            read_bytes in 1..50_usize,
        ) {
            let empty = format!("{:?}", Event::CData(quick_xml::events::BytesCData::new("")));
            let mut plain = events(document.as_bytes(), |_| {});
            plain.retain(|event| !event.starts_with("Text("));
            for event in &mut plain {
                if event.starts_with("CData(") {
                    event.clone_from(&empty);
                }
            }
            prop_assert_eq!(skimmed(&document, read_bytes, false), plain);
        }

        #[test]
        fn the_sizes_of_reads_change_nothing(
            document in documents(),
            times in prop::sample::select(vec![1, XML_TEXT_BYTES_MAX / 20]),
            wants_text in any::<bool>(),
            read_bytes in 1..5_000_usize,
        ) {
            let document = document.repeat(times);
            let expected = skimmed(&document, usize::MAX, wants_text);
            prop_assert!(skimmed(&document, read_bytes, wants_text) == expected);
        }
    }
}
