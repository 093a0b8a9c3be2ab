//! Walks an XML document, for the formats that are written in XML.
//!
//! All that makes XML dangerous is handled here, once: no DTD is read and no entity is expanded but
//! the five predefined ones, nesting, names, tags and texts are bounded, and the encoding is the one
//! that the document declares.

mod skim;
mod window;

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::sync::Arc;

use encoding_rs::Encoding;
use quick_xml::encoding::{DecodingReader, DetectedEncoding, detect_encoding};
use quick_xml::errors::IllFormedError;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Error, Reader, XmlVersion};

use crate::error::{Position, ReadError};
use crate::formats::Source;
use crate::limits::{XML_DEPTH_MAX, XML_NAME_BYTES_MAX};
use crate::text;
use skim::Skim;

/// Sees a document in order. Every `open` is followed by the `close` of the same element.
pub(crate) trait Visitor {
    /// The names that the root element may have; any when empty.
    fn roots(&self) -> &'static [&'static str];

    /// An element begins.
    fn open(&mut self, element: &Element<'_>) -> Result<(), Error>;

    /// Whether the text directly inside the innermost open element is of any use. Where it is not,
    /// most of it is skipped unseen, which is much faster.
    fn wants_text(&self) -> bool {
        true
    }

    /// Text inside the innermost open element; one text may come in several pieces.
    fn text(&mut self, text: &str);

    /// The innermost open element, of this name, ends.
    fn close(&mut self, name: &str);
}

/// The begin of an element.
pub(crate) struct Element<'a>(BytesStart<'a>);

impl Element<'_> {
    /// The name, without the prefix of a namespace.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// The values of the attributes of these names, in the same order.
    pub(crate) fn attributes<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[Option<Cow<'_, str>>; N], Error> {
        let mut values = [const { None }; N];
        let mut attributes = self.0.attributes();
        // Its search for duplicates takes a time that is quadratic in the size of the tag.
        for attribute in attributes.with_checks(false) {
            let attribute = attribute?;
            let key = attribute.key.as_ref();
            if let Some(index) = names.iter().position(|&name| name == key)
                && values[index].is_none()
            {
                // A reference to an entity that is not known stays as it is written.
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                values[index] = Some(value.unwrap_or(attribute.value));
            }
        }
        Ok(values)
    }
}

/// Shows the whole document to `visitor`.
pub(crate) fn walk(source: Source<'_>, visitor: &mut dyn Visitor) -> Result<(), ReadError> {
    let name = source.name;
    let decoded = decode(name, source.head, source.body)?;
    let mut reader = Reader::from_reader(Skim::new(decoded));
    let mut walk = Walk {
        name,
        format: source.format,
        depth: 0,
        rooted: false,
        visitor,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let wants_text = walk.depth == 0 || walk.visitor.wants_text();
        reader.get_mut().begin_event(wants_text);
        match reader.read_event_into(&mut buffer) {
            Ok(event) => match walk.see(event) {
                Ok(Seen::More) => {}
                Ok(Seen::End) => return Ok(()),
                Err(fault) => return Err(fault.explain(name, reader.get_ref().position())),
            },
            Err(error) => {
                let at = reader.get_ref().position();
                let ended = matches!(reader.get_mut().fill_buf(), Ok([]));
                let fault = match ended && is_about_an_end(&error) {
                    true => Fault::Truncated,
                    false => Fault::Parser(error),
                };
                return Err(fault.explain(name, at));
            }
        }
    }
}

/// Why a document cannot be read on.
enum Fault {
    Truncated,
    Malformed(&'static str),
    /// The parser's or the visitor's.
    Parser(Error),
    /// One that has no place in the document.
    Read(ReadError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Parser(error)
    }
}

impl Fault {
    /// As the report's reader is told.
    fn explain(self, name: &str, at: Position) -> ReadError {
        match self {
            Self::Truncated => {
                let name = ReadError::name(name);
                ReadError::Truncated { name, at }
            }
            Self::Malformed(what) => ReadError::malformed(name, at, what),
            Self::Parser(Error::Io(error)) => match Arc::try_unwrap(error) {
                Ok(error) => ReadError::from_io(name, error),
                Err(shared) => ReadError::unreadable(name, shared),
            },
            Self::Parser(error) => ReadError::malformed(name, at, error),
            Self::Read(error) => error,
        }
    }
}

#[derive(PartialEq)]
enum Seen {
    More,
    End,
}

struct Walk<'a> {
    name: &'a str,
    format: &'static str,
    depth: usize,
    rooted: bool,
    visitor: &'a mut dyn Visitor,
}

impl Walk<'_> {
    fn see(&mut self, event: Event<'_>) -> Result<Seen, Fault> {
        match event {
            Event::Start(start) => self.open(&Element(start))?,
            Event::Empty(start) => {
                let element = Element(start);
                self.open(&element)?;
                self.close(element.name());
            }
            Event::End(end) => self.close(end.local_name().into_inner()),
            Event::Text(text) => self.text(&text.xml10_content())?,
            Event::CData(text) => self.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => self.text(&resolve(&reference))?,
            Event::DocType(doctype) => {
                if doctype.contains('[') {
                    let name = ReadError::name(self.name);
                    return Err(Fault::Read(ReadError::Entities { name }));
                }
            }
            Event::Eof if self.rooted && self.depth == 0 => return Ok(Seen::End),
            Event::Eof => return Err(Fault::Truncated),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
        Ok(Seen::More)
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Fault> {
        let found = element.name();
        if self.depth == 0 && self.rooted {
            return Err(Fault::Malformed("there is a second root element"));
        }
        if self.depth == 0 {
            self.rooted = true;
            let roots = self.visitor.roots();
            if !roots.is_empty() && !roots.contains(&found) {
                return Err(Fault::Read(ReadError::WrongFormat {
                    name: ReadError::name(self.name),
                    format: self.format,
                    found: text::line(found, crate::NAME_CHARS_MAX),
                }));
            }
        }
        for (what, size, limit) in [
            ("depth of nested elements", self.depth + 1, XML_DEPTH_MAX),
            (
                "size in bytes of an element's name",
                found.len(),
                XML_NAME_BYTES_MAX,
            ),
        ] {
            if size > limit {
                let error = ReadError::too_large(self.name, what, limit as u64);
                return Err(Fault::Read(error));
            }
        }
        self.depth += 1;
        self.visitor.open(element)?;
        Ok(())
    }

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.visitor.close(name);
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        if self.depth > 0 {
            self.visitor.text(text);
        } else if !text.trim().is_empty() {
            let what = "there is text outside of the root element";
            return Err(Fault::Malformed(what));
        }
        Ok(())
    }
}

/// The text that a `&reference;` stands for. One that is neither a character nor predefined stays as
/// it is written: there is no DTD that could say what it means.
fn resolve(reference: &BytesRef<'_>) -> Cow<'static, str> {
    match reference.resolve_char_ref() {
        Ok(Some(char)) => Cow::Owned(char.to_string()),
        Ok(None) | Err(_) => match resolve_xml_entity(reference) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(format!("&{};", &**reference)),
        },
    }
}

/// Whether an error at the end of the input says no more than that it is the end. Half a character
/// there is an error of the encoding.
fn is_about_an_end(error: &Error) -> bool {
    match error {
        Error::Syntax(_) | Error::Encoding(_) => true,
        Error::IllFormed(error) => matches!(error, IllFormedError::UnclosedReference),
        Error::Io(_) | Error::InvalidAttr(_) | Error::Escape(_) | Error::Namespace(_) => false,
    }
}

/// Decodes to UTF-8, which is what the parser reads. A byte order mark decides, then the document's
/// declaration, then it is UTF-8, which is left as it is and not checked here.
///
/// `DecodingReader` can be told an encoding only before it has handed out its first 64 bytes, too
/// late for a declaration that is longer, so the declaration is read from `head` beforehand.
fn decode<'a>(
    name: &str,
    head: &[u8],
    body: &'a mut dyn BufRead,
) -> Result<Box<dyn Read + 'a>, ReadError> {
    use DetectedEncoding::{
        AsciiCompatible, Utf8Bom, Utf16BeBom, Utf16BeLike, Utf16LeBom, Utf16LeLike,
    };
    let declared = match detect_encoding(head) {
        Some(Utf16BeBom | Utf16BeLike | Utf16LeBom | Utf16LeLike) => {
            return Ok(Box::new(DecodingReader::new(body)));
        }
        Some(mark @ Utf8Bom) => {
            // It is there: `head` begins with it.
            body.consume(mark.bom_len());
            None
        }
        Some(AsciiCompatible) => declared(name, head)?,
        None => None,
    };
    let Some(encoding) = declared.filter(|&encoding| encoding != encoding_rs::UTF_8) else {
        return Ok(Box::new(body));
    };
    let mut decoded = DecodingReader::new(body);
    decoded.set_encoding(encoding);
    Ok(Box::new(decoded))
}

/// The encoding that the document declares; None when it declares none that can be.
fn declared(name: &str, head: &[u8]) -> Result<Option<&'static Encoding>, ReadError> {
    let mut buffer = Vec::new();
    let Ok(Event::Decl(declaration)) = Reader::from_reader(head).read_event_into(&mut buffer)
    else {
        return Ok(None);
    };
    let Some(Ok(label)) = declaration.encoding() else {
        return Ok(None);
    };
    match declaration.encoder() {
        Some(encoding) if encoding.is_ascii_compatible() => Ok(Some(encoding)),
        // Its first bytes show that it is not; .NET's StringWriter says so of what becomes UTF-8.
        Some(encoding) if encoding.name().starts_with("UTF-16") => Ok(None),
        Some(_) | None => Err(ReadError::Encoding {
            name: ReadError::name(name),
            label: text::line(&label, crate::NAME_CHARS_MAX),
        }),
    }
}

/// The root element, as far as it tells formats apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) name: String,
    /// The attributes out of [`Root::TELLING`] that it has.
    pub(crate) has: Vec<&'static str>,
    /// The name of the first element in it; empty when there is none.
    pub(crate) first: String,
}

impl Root {
    /// Attributes that tell formats with roots of the same name apart: Cobertura's from Clover's,
    /// JaCoCo's from those of others that call it `report`, and an assembly of xUnit.net's tests
    /// from the manifest of one.
    const TELLING: [&'static str; 6] = [
        "line-rate",
        "lines-valid",
        "clover",
        "generated",
        "name",
        "run-date",
    ];

    /// Finds the root element in the first bytes of a document.
    pub(crate) fn find(name: &str, head: &[u8]) -> Result<Self, ReadError> {
        let mut finder = RootFinder::default();
        let source = Source {
            name,
            format: "xml",
            head,
            body: &mut &head[..],
        };
        let walked = walk(source, &mut finder);
        match (finder.root, walked) {
            (Some(root), _) => Ok(root),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(ReadError::empty(name)),
        }
    }
}

#[derive(Default)]
struct RootFinder {
    root: Option<Root>,
}

impl Visitor for RootFinder {
    fn roots(&self) -> &'static [&'static str] {
        &[]
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        match &mut self.root {
            None => {
                let values = element.attributes(Root::TELLING)?;
                let present = Root::TELLING.iter().zip(values);
                self.root = Some(Root {
                    name: element.name().to_owned(),
                    has: present
                        .filter_map(|(&name, value)| value.map(|_| name))
                        .collect(),
                    first: String::new(),
                });
            }
            Some(root) if root.first.is_empty() => element.name().clone_into(&mut root.first),
            Some(_) => {}
        }
        Ok(())
    }

    fn wants_text(&self) -> bool {
        false
    }

    fn text(&mut self, _: &str) {}

    fn close(&mut self, _: &str) {}
}
