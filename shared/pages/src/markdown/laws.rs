//! What a reader sees of a text is the text, whatever it is.

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, parse_document};
use proptest::prelude::*;

use super::*;

/// Everything that a forge may have switched on.
fn options() -> Options<'static> {
    let mut options = Options::default();
    let on = &mut options.extension;
    on.strikethrough = true;
    on.table = true;
    on.autolink = true;
    on.tasklist = true;
    on.superscript = true;
    on.footnotes = true;
    on.inline_footnotes = true;
    on.description_lists = true;
    on.alerts = true;
    on.math_dollars = true;
    on.math_code = true;
    on.shortcodes = true;
    on.underline = true;
    on.subscript = true;
    on.spoiler = true;
    on.wikilinks_title_after_pipe = true;
    on.greentext = true;
    on.highlight = true;
    on.insert = true;
    options
}

/// What is shown, and the first node that is more than text in a table or a list.
fn shown<'a>(root: &'a AstNode<'a>) -> (String, Option<NodeValue>) {
    let (mut shown, mut markup) = (String::new(), None);
    for node in root.descendants() {
        match &node.data().value {
            NodeValue::Text(text) => shown += text,
            NodeValue::Code(code) => shown += &code.literal,
            NodeValue::Document
            | NodeValue::Paragraph
            | NodeValue::Table(_)
            | NodeValue::TableRow(_)
            | NodeValue::TableCell => {}
            value => markup = Some(value.clone()),
        }
    }
    shown.retain(|char| char != '\u{200b}');
    (shown, markup)
}

/// A text of the characters that markup is made of.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<",
        ">",
        "&",
        "\"",
        "'",
        "`",
        "``",
        "*",
        "**",
        "_",
        "~~",
        "|",
        "||",
        "\\",
        "[",
        "]",
        "(",
        ")",
        "!",
        "#",
        "@",
        "$",
        "$$",
        "^",
        ":",
        "::",
        ":bug:",
        "{",
        "}",
        "=",
        "==",
        "++",
        "-",
        "- [x] ",
        "1. ",
        "://",
        "https://a.de",
        "www.",
        "www.a.de",
        "a@b.de",
        "GH-1",
        "#1",
        "a",
        "b1",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "<b>",
        "</td>",
        "<!--",
        "-->",
        "&lt;",
        "&#60;",
        "](",
        "[[a|b]]",
        "[^1]",
        "javascript:",
        "\u{e9}",
        "漢",
        "🙂",
        "...",
        "%",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

/// As a reader sees white space.
fn folded(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn an_escaped_text_is_shown_as_it_is_in_a_line_and_in_a_table(text in hostile()) {
        let escaped = escaped(&text, usize::MAX);
        prop_assert!(!escaped.contains('\n'));
        for page in [format!("x{escaped}x"), format!("|a|b|\n|-|-|\n|x{escaped}x|y|\n")] {
            let arena = Arena::new();
            let (shown, markup) = shown(parse_document(&arena, &page, &options()));
            prop_assert!(markup.is_none(), "{markup:?} of {text:?}: {escaped}");
            prop_assert!(folded(&shown).contains(&folded(&format!("x{text}x"))), "{shown}");
        }
    }

    #[test]
    fn a_name_as_code_is_shown_as_it_is(name in hostile()) {
        let written = code(&name).0;
        let page = format!("x {written} x");
        let arena = Arena::new();
        let root = parse_document(&arena, &page, &options());
        let codes: Vec<_> = root.descendants().filter_map(|node| match &node.data().value {
            NodeValue::Code(code) => Some(code.literal.clone()),
            _ => None,
        }).collect();
        let (_, markup) = shown(root);
        prop_assert!(markup.is_none(), "{markup:?} of {name:?}: {written}");
        match folded(&name).is_empty() {
            true => prop_assert_eq!(codes, Vec::<String>::new()),
            false => {
                prop_assert_eq!(codes.len(), 1);
                prop_assert_eq!(folded(&codes[0]), folded(&name));
            }
        }
    }

    #[test]
    fn a_text_never_outgrows_its_bound(text in any::<String>(), bytes in 0..100_usize) {
        prop_assert!(escaped(&text, bytes).len() <= bytes + '…'.len_utf8());
        prop_assert!(code(&text.repeat(20)).0.len() <= 3 * NAME_BYTES_MAX + 9);
    }
}

#[test]
fn what_forges_make_links_of_is_parted() {
    for (text, written) in [
        ("@team", "&#64;&#8203;team"),
        ("see #12", "see &#35;&#8203;12"),
        ("https://a.de", "https:&#8203;//a.de"),
        ("www.a.de", "www.&#8203;a.de"),
        ("GH-12", "GH-&#8203;12"),
        (":bug:", ":&#8203;bug:"),
        ("a: b, 50 % (1/2)", "a: b, 50 % (1/2)"),
        ("snake_case", "snake&#95;case"),
    ] {
        assert_eq!(escaped(text, usize::MAX), written);
    }
}
