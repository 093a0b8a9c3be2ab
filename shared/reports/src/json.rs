//! Reads a JSON document as a stream, for the formats that are written in JSON.
//!
//! Nothing of it is held but what a format asks for. Nesting, strings and numbers are bounded, and
//! the encoding is what the first bytes show. A value of another type than the one asked for counts
//! as absent, so a format says itself what it cannot do without: [`Fault::Missing`].

mod outline;
mod skim;

use std::cell::Cell;
use std::io::BufRead;
use std::rc::Rc;

use quick_xml::encoding::DecodingReader;
use struson::reader::{
    JsonReader, JsonReaderPosition, JsonStreamReader, JsonSyntaxError, ReaderError, ReaderSettings,
    SyntaxErrorKind, ValueType,
};

use crate::error::{Position, ReadError};
use crate::formats::Source;
use crate::limits::{JSON_DEPTH_MAX, TooMuch};
pub(crate) use outline::Outline;
use skim::Skim;

/// Why a document could not be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It breaks JSON's rules, or its bytes could not be had.
    #[error(transparent)]
    Json(#[from] ReaderError),
    /// A bound was reached.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// It is JSON, and does not have what every report of its format has.
    #[error("there is no `{0}`")]
    Missing(&'static str),
    /// It is JSON, and breaks a rule of its format.
    #[error("{0}")]
    Broken(&'static str),
}

/// A document, at one of its values.
pub(crate) struct Json<'a>(
    JsonStreamReader<Skim<DecodingReader<&'a mut dyn BufRead>>>,
    /// Where the document's last word begins, once its end was seen.
    Rc<Cell<Option<u64>>>,
);

/// Reads the whole document by `read`, which is shown its one value.
pub(crate) fn read<T>(
    source: Source<'_>,
    read: impl FnOnce(&mut Json<'_>) -> Result<T, Fault>,
) -> Result<T, ReadError> {
    let name = source.name;
    let mut json = Json::new(source.body);
    let last_word = Rc::clone(&json.1);
    let read = read(&mut json).and_then(|read| {
        json.0.consume_trailing_whitespace()?;
        Ok(read)
    });
    read.map_err(|fault| explain(name, fault, last_word.get()))
}

impl<'a> Json<'a> {
    fn new(body: &'a mut dyn BufRead) -> Self {
        let settings = ReaderSettings {
            max_nesting_depth: Some(JSON_DEPTH_MAX),
            track_path: false,
            restrict_number_values: false,
            ..ReaderSettings::default()
        };
        let input = Skim::new(DecodingReader::new(body));
        let last_word = input.last_word();
        Self(JsonStreamReader::new_custom(input, settings), last_word)
    }

    /// Shows each member of the object here, which `each` is to read. False, with the value passed
    /// over, when it is no object.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&str, &mut Self) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        if !self.is(ValueType::Object)? {
            return Ok(false);
        }
        self.0.begin_object()?;
        let mut name = String::new();
        while self.0.has_next()? {
            name.clear();
            name.push_str(self.0.next_name()?);
            each(&name, self)?;
        }
        self.0.end_object()?;
        Ok(true)
    }

    /// Shows each element of the array here, which `each` is to read. False, with the value passed
    /// over, when it is no array.
    pub(crate) fn array(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        if !self.is(ValueType::Array)? {
            return Ok(false);
        }
        self.0.begin_array()?;
        while self.0.has_next()? {
            each(self)?;
        }
        self.0.end_array()?;
        Ok(true)
    }

    /// The string here, cut at [`JSON_STRING_BYTES_MAX`](crate::limits::JSON_STRING_BYTES_MAX).
    pub(crate) fn string(&mut self) -> Result<Option<String>, Fault> {
        match self.is(ValueType::String)? {
            true => Ok(Some(self.0.next_string()?)),
            false => Ok(None),
        }
    }

    /// The string or the number here, as it is written.
    pub(crate) fn text(&mut self) -> Result<Option<String>, Fault> {
        match self.0.peek()? {
            ValueType::Number => Ok(Some(self.0.next_number_as_string()?)),
            ValueType::Array
            | ValueType::Object
            | ValueType::String
            | ValueType::Boolean
            | ValueType::Null => self.string(),
        }
    }

    /// The number here, finite.
    pub(crate) fn number(&mut self) -> Result<Option<f64>, Fault> {
        if !self.is(ValueType::Number)? {
            return Ok(None);
        }
        let number = self.0.next_number::<f64>()?.ok();
        Ok(number.filter(|number| number.is_finite()))
    }

    /// The number here, when it is whole, not negative and fits.
    pub(crate) fn integer(&mut self) -> Result<Option<u64>, Fault> {
        match self.is(ValueType::Number)? {
            true => Ok(self.0.next_number::<u64>()?.ok()),
            false => Ok(None),
        }
    }

    /// The truth value here.
    pub(crate) fn boolean(&mut self) -> Result<Option<bool>, Fault> {
        match self.is(ValueType::Boolean)? {
            true => Ok(Some(self.0.next_bool()?)),
            false => Ok(None),
        }
    }

    /// Whether the value here is null; it stays to be read.
    pub(crate) fn is_null(&mut self) -> Result<bool, Fault> {
        Ok(self.0.peek()? == ValueType::Null)
    }

    /// Whether the value here is an array; it stays to be read.
    pub(crate) fn is_array(&mut self) -> Result<bool, Fault> {
        Ok(self.0.peek()? == ValueType::Array)
    }

    /// Passes over the value here.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        Ok(self.0.skip_value()?)
    }

    /// Whether the value here is of this type; any other is passed over.
    fn is(&mut self, wanted: ValueType) -> Result<bool, Fault> {
        let is = self.0.peek()? == wanted;
        if !is {
            self.skip()?;
        }
        Ok(is)
    }
}

/// Whether what is wrong is that the document ends. Of half a `true` at its end, of `1.` or of a
/// name without a value, the parser says something else.
fn is_cut_off(error: &JsonSyntaxError, last_word: Option<u64>) -> bool {
    let begin = error.location.data_pos.unwrap_or(0);
    match error.kind {
        SyntaxErrorKind::IncompleteDocument => true,
        SyntaxErrorKind::TrailingData => false,
        _ => last_word.is_some_and(|word| begin >= word),
    }
}

/// `last_word` is where the document's last word begins, once its end was seen.
fn explain(name: &str, fault: Fault, last_word: Option<u64>) -> ReadError {
    let error = match fault {
        Fault::TooMuch(TooMuch { what, limit }) => return ReadError::too_large(name, what, limit),
        Fault::Missing(_) | Fault::Broken(_) => {
            return ReadError::malformed(name, Position::START, fault);
        }
        Fault::Json(error) => error,
    };
    match error {
        ReaderError::IoError { error, location } if is_about_encoding(&error) => {
            ReadError::malformed(name, position(&location), error)
        }
        ReaderError::IoError { error, .. } => ReadError::from_io(name, error),
        ReaderError::MaxNestingDepthExceeded { .. } => {
            let what = "depth of nested arrays and objects";
            ReadError::too_large(name, what, JSON_DEPTH_MAX.into())
        }
        ReaderError::SyntaxError(error) if is_cut_off(&error, last_word) => ReadError::Truncated {
            name: ReadError::name(name),
            at: position(&error.location),
        },
        ReaderError::SyntaxError(error) => {
            let at = position(&error.location);
            ReadError::malformed(name, at, error)
        }
        ReaderError::UnexpectedValueType { ref location, .. }
        | ReaderError::UnexpectedStructure { ref location, .. }
        | ReaderError::UnsupportedNumberValue { ref location, .. } => {
            ReadError::malformed(name, position(location), error)
        }
        other => ReadError::malformed(name, Position::START, other),
    }
}

/// What the decoder and the parser say of bytes that are no text.
fn is_about_encoding(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

fn position(location: &JsonReaderPosition) -> Position {
    let line = location.line_pos.as_ref().map_or(0, |at| at.line);
    Position {
        line: line + 1,
        byte: location.data_pos.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(
        text: &[u8],
        act: impl FnOnce(&mut Json<'_>) -> Result<T, Fault>,
    ) -> Result<T, ReadError> {
        let source = Source {
            name: "out.json",
            format: "json",
            head: text,
            body: &mut &text[..],
        };
        read(source, act)
    }

    fn skip(text: &[u8]) -> Result<(), ReadError> {
        with(text, |json| json.skip())
    }

    #[test]
    fn a_value_of_another_type_counts_as_absent() {
        let text = br#"[1, "x", true, null, {"a": [1]}, -2, 1.5, 1e999]"#;
        let mut seen = Vec::new();
        let read = |json: &mut Json<'_>| {
            json.array(|json| {
                seen.push(json.integer()?);
                Ok(())
            })
        };
        assert!(with(text, read).unwrap());
        let expected = [Some(1), None, None, None, None, None, None, None];
        assert_eq!(seen, expected);
        assert!(!with(text, |json| json.object(|_, _| Ok(()))).unwrap());
        assert_eq!(
            with(b"12.50", |json| json.text()).unwrap().unwrap(),
            "12.50"
        );
        assert_eq!(with(b"1e999", |json| json.number()).unwrap(), None);
    }

    #[test]
    fn truncated_malformed_deep_and_badly_encoded_are_told_apart() {
        assert!(matches!(skip(b"[1, "), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"[\"a"), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"[tru"), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"[n"), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"{\"a\""), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"[1."), Err(ReadError::Truncated { .. })));
        assert!(matches!(skip(b"[1.]"), Err(ReadError::Malformed { .. })));
        assert!(matches!(skip(b"[] x"), Err(ReadError::Malformed { .. })));
        assert!(matches!(skip(b"[nul] "), Err(ReadError::Malformed { .. })));
        assert!(matches!(skip(b"[1,]"), Err(ReadError::Malformed { .. })));
        assert!(matches!(skip(b"[] []"), Err(ReadError::Malformed { .. })));
        assert!(matches!(
            skip(b"[\"\xff\"]"),
            Err(ReadError::Malformed { .. })
        ));
        let deep = "[".repeat(1_000_000);
        let too_deep = skip(deep.as_bytes());
        assert!(
            matches!(too_deep, Err(ReadError::TooLarge { .. })),
            "{too_deep:?}"
        );
    }

    #[test]
    fn every_unicode_encoding_with_a_mark_is_read() {
        let utf16: Vec<u8> = "\u{feff}[\"ä\"]"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for text in [&utf16[..], "\u{feff}[\"ä\"]".as_bytes()] {
            let mut strings = Vec::new();
            let read = |json: &mut Json<'_>| {
                json.array(|json| {
                    strings.extend(json.string()?);
                    Ok(())
                })
            };
            with(text, read).unwrap();
            assert_eq!(strings, ["ä"]);
        }
    }
}
