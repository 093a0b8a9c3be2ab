//! What holds of every page, whatever the reports say.

mod samples;

use comrak::nodes::NodeValue;
use comrak::{Arena, Options, parse_document};
use pages::{HTML_BYTES_MAX, MARKDOWN_BYTES_MAX, RELEASE_HTML_BYTES_MAX, TESTS_ITEMS_MAX};
use proptest::prelude::*;
use release::Reason;
use reports::Severity;

use samples::{HOSTILE, Sample, stories};

/// Every tag of a page, with its attributes. What is in it that is not a tag begins with `&#60;`.
fn tags(html: &str) -> Vec<&str> {
    let begun = html.split('<').skip(1);
    begun
        .map(|tag| tag.split_once('>').map_or(tag, |(tag, _)| tag))
        .collect()
}

/// What a browser shows of a text that askama has escaped.
fn unescaped(html: &str) -> String {
    let mut shown = html.to_owned();
    for (written, char) in [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ] {
        shown = shown.replace(written, char);
    }
    shown
}

fn assert_only_text_differs(texts: &[&str]) {
    let harmless = vec!["harmless"; texts.len()];
    let [hostile, harmless] = [texts, &harmless].map(|texts| {
        let sample = samples::with_texts(texts);
        sample.page().html()
    });
    assert_eq!(tags(&hostile), tags(&harmless), "{texts:?}");
}

#[test]
fn no_known_attack_changes_the_elements_of_a_page() {
    for text in HOSTILE {
        assert_only_text_differs(&[text, text]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_text_changes_the_elements_of_a_page(text in "[<>&\"'`/=a-z!{}%# -]{1,30}[a-z]") {
        assert_only_text_differs(&[&text, &text]);
    }
}

#[test]
fn every_hostile_text_is_shown_as_it_is() {
    let sample = samples::hostile();
    let html = unescaped(&sample.page().html());
    for text in HOSTILE {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn markdown_has_no_link_no_picture_and_no_html() {
    for sample in samples::all() {
        let markdown = sample.page().markdown();
        let mut options = Options::default();
        let on = &mut options.extension;
        (on.table, on.autolink, on.strikethrough, on.footnotes) = (true, true, true, true);
        (on.math_dollars, on.shortcodes, on.tasklist, on.alerts) = (true, true, true, true);
        let arena = Arena::new();
        let mut lists = 0;
        for node in parse_document(&arena, &markdown, &options).descendants() {
            match &node.data().value {
                NodeValue::Document
                | NodeValue::Heading(_)
                | NodeValue::Paragraph
                | NodeValue::Table(_)
                | NodeValue::TableRow(_)
                | NodeValue::TableCell
                | NodeValue::Item(_)
                | NodeValue::Strong
                | NodeValue::Text(_)
                | NodeValue::Code(_) => {}
                NodeValue::List(_) => lists += 1,
                other => panic!("{}: {other:?} in\n{markdown}", sample.name),
            }
        }
        assert!(
            lists <= 3,
            "{}: tests, files, findings\n{markdown}",
            sample.name
        );
    }
}

/// Every number of a verdict, as a page writes it.
fn numbers(sample: &Sample) -> Vec<String> {
    let verdict = &sample.verdict;
    let totals = verdict.totals;
    let mut numbers = vec![
        totals.tests,
        totals.passed,
        totals.failed,
        totals.errors,
        totals.flaky,
        totals.skipped,
    ];
    if let Some(coverage) = verdict.coverage {
        let ratios = [
            Some(coverage.lines),
            Some(coverage.branches),
            coverage.changed,
        ];
        numbers.extend(
            ratios
                .iter()
                .flatten()
                .flat_map(|ratio| [ratio.covered, ratio.valid]),
        );
    }
    numbers.extend(verdict.findings.iter().flatten().map(|(_, count)| *count));
    let written = numbers.into_iter().map(|number| match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    });
    written.collect()
}

#[test]
fn every_number_of_the_verdict_is_on_both_pages() {
    let sample = samples::fail();
    let (html, markdown) = (sample.page().html(), sample.page().markdown());
    for number in numbers(&sample) {
        for page in [&html, &markdown] {
            assert!(page.contains(&number), "{number}");
        }
    }
    for rule in &sample.verdict.rules {
        assert!(html.contains(rule.rule) && markdown.contains(rule.rule));
    }
    for severity in [Severity::High, Severity::Medium, Severity::Low] {
        assert!(html.contains(&format!("1 {}", severity.name())) || severity == Severity::High);
    }
}

#[test]
fn the_verdict_is_a_word_and_a_symbol() {
    for (sample, words, class, sign) in [
        (samples::pass(), "Passed", "pass", "✅"),
        (samples::warned(), "Passed with warnings", "warn", "⚠️"),
        (samples::fail(), "Failed", "fail", "❌"),
    ] {
        let html = sample.page().html();
        let heading = format!(r##"<use href="#sign-{class}"/></svg>{words}</h1>"##);
        assert!(html.contains(&heading), "{}", sample.name);
        let markdown = sample.page().markdown();
        assert!(markdown.starts_with(&format!("## {sign} Test gate `unit`: {words}\n")));
    }
}

/// Where these are on a page, which must be in this order.
fn assert_in_order(page: &str, parts: &[&str]) {
    let mut rest = page;
    for part in parts {
        let place = rest.find(part);
        assert!(place.is_some(), "{part} is not where it should be");
        rest = &rest[place.unwrap_or_default()..];
    }
}

#[test]
fn what_is_broken_comes_first_and_what_is_new() {
    let sample = samples::fail();
    let rules = ["max-failures", "max-flaky", "max-skipped"];
    assert_in_order(&sample.page().html(), &rules);
    assert_in_order(&sample.page().markdown(), &rules);
    let tags = ["tag new", "tag known", "tag quarantined"];
    assert_in_order(&sample.page().html(), &tags);
    assert_in_order(
        &sample.page().markdown(),
        &["**new**", "**known**", "**quarantined"],
    );
}

#[test]
fn what_is_not_listed_is_counted() {
    let sample = samples::huge();
    let html = sample.page().html();
    let failing = html.matches("<b class=\"tag new\">").count();
    let more = 10_050 - failing;
    assert!(failing > 4_000 && more > 0, "{failing} listed, {more} more");
    assert!(html.contains(&format!(
        "{},{:03} more are not listed.",
        more / 1_000,
        more % 1_000
    )));
    assert!(
        html.contains("19,100 more are not listed."),
        "20,100 findings, 1,000 shown"
    );
    let markdown = sample.page().markdown();
    assert_eq!(markdown.matches("- **new**").count(), TESTS_ITEMS_MAX);
    assert!(markdown.contains("10,000 more are not listed."));
}

#[test]
fn no_page_outgrows_its_bound() {
    let long = "<&>'\"|*_[@x".repeat(28);
    let many = vec![long.as_str(); 4_000];
    for sample in [samples::huge(), samples::with_texts(&many)] {
        let (html, markdown) = (sample.page().html(), sample.page().markdown());
        assert!(
            html.len() > HTML_BYTES_MAX / 4,
            "{} bytes is no test",
            html.len()
        );
        assert!(
            html.len() <= HTML_BYTES_MAX,
            "{}: {}",
            sample.name,
            html.len()
        );
        assert!(
            markdown.len() <= MARKDOWN_BYTES_MAX,
            "{}: {}",
            sample.name,
            markdown.len()
        );
    }
}

#[test]
fn a_page_asks_the_network_for_nothing() {
    let gates = samples::all().into_iter().map(|s| s.page().html());
    let releases = stories::all().into_iter().map(|tale| tale.page().html());
    for html in gates.chain(releases) {
        let csp = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
        assert!(html.contains(csp));
        for tag in tags(&html) {
            let asks = ["src=", "href=\"http", "href=\"//", "action=", "@import"];
            assert!(!asks.iter().any(|ask| tag.contains(ask)), "{tag}");
        }
    }
}

#[test]
fn a_first_run_has_nothing_to_compare_with() {
    let sample = samples::first();
    let html = sample.page().html();
    assert!(html.contains("No earlier run has passed"));
    assert!(!html.contains("<figure"));
}

#[test]
fn the_charts_show_the_runs_before_and_this_one() {
    let sample = samples::fail();
    let html = sample.page().html();
    assert_eq!(html.matches("<figure").count(), 3);
    assert_eq!(html.matches("<g class=\"now\">").count(), 3);
    assert_eq!(html.matches("<rect class=\"slot\"").count(), 3 * 61);
    assert_eq!(html.matches("<desc id=").count(), 3);
}

#[test]
fn no_text_changes_the_elements_of_a_releases_page() {
    let harmless: Vec<_> = (0..HOSTILE.len())
        .map(|n| format!("harmless-{n}"))
        .collect();
    let harmless: Vec<_> = harmless.iter().map(String::as_str).collect();
    let [hostile, harmless] =
        [&HOSTILE[..], &harmless].map(|texts| stories::with_texts(texts).page().html());
    assert_eq!(tags(&hostile), tags(&harmless));
    let shown = unescaped(&hostile).replace('\u{a0}', " ");
    for text in HOSTILE {
        assert!(shown.contains(text), "{text}");
    }
}

#[test]
fn a_releases_page_has_no_script() {
    for tale in stories::all() {
        assert!(!tale.page().html().contains("<script"), "{}", tale.name);
    }
}

#[test]
fn how_a_release_stands_is_a_word_and_a_symbol_with_the_sentence_that_decided() {
    for (tale, words, class, sentence) in [
        (stories::promoted(), "Promoted", "pass", "shown to be below"),
        (
            stories::rolled_back(),
            "Rolled back",
            "fail",
            "The candidate is worse: errors",
        ),
        (
            stories::alarmed(),
            "Rolled back",
            "fail",
            "Alarm &#39;shop-latency&#39; fired.",
        ),
        (stories::shifting(), "Still shifting", "now", "Errors 0"),
        (
            stories::stuck(),
            "Rolling back",
            "warn",
            "Somebody asked for it: wrong prices.",
        ),
        (
            stories::hostile(),
            "Rolling back",
            "warn",
            " asked for it: &#60;script&#62;",
        ),
        (
            stories::begun(),
            "Still shifting",
            "now",
            "Errors: no window yet in which both arms had requests.",
        ),
    ] {
        let html = tale.page().html();
        let heading = format!(r##"<use href="#sign-{class}"/></svg>{words}</h1>"##);
        assert!(html.contains(&heading), "{}", tale.name);
        let lede = html.split("<p class=\"lede\">").nth(1).unwrap();
        let lede = lede.split("</p>").next().unwrap();
        assert!(lede.contains(sentence), "{}: {lede}", tale.name);
    }
}

#[test]
fn a_rollback_that_is_stuck_says_since_when_and_why_and_that_it_goes_on() {
    let html = stories::stuck().page().html();
    for part in [
        "The rollback is stuck since 09:",
        " UTC, and goes on being tried.",
        "The rollback is stuck: it goes on being tried",
        "could not move the traffic: access denied",
    ] {
        assert!(html.contains(part), "no '{part}'");
    }
}

/// A number as a release's page writes it.
fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", number / 1_000, number % 1_000),
    }
}

#[test]
fn every_number_and_every_reason_of_the_account_is_on_its_page() {
    for tale in [
        stories::rolled_back(),
        stories::promoted(),
        stories::alarmed(),
    ] {
        let html = unescaped(&tale.page().html()).replace('\u{a0}', " ");
        let account = &tale.account;
        let shown = |text: &str| assert!(html.contains(text), "{}: {text}", tale.name);
        shown(&grouped(account.requests.candidate));
        for window in &account.windows {
            shown(&window.start.strftime("%H:%M:%S").to_string());
            for metric in window.metrics.values() {
                for counts in [metric.canary, metric.baseline] {
                    shown(&format!(
                        "{} of {}",
                        grouped(counts.bad),
                        grouped(counts.count)
                    ));
                }
            }
        }
        for moment in &account.moments {
            shown(&moment.at.strftime("%H:%M:%S").to_string());
            // A weight is said itself, and its reason is that the plan has it next.
            let because = moment.because.as_ref();
            let because = because.filter(|why| !matches!(why, Reason::NextWeight { .. }));
            let because = because.map(ToString::to_string);
            // That it begins a sentence there is all that is different.
            because.iter().for_each(|because| shown(&because[1..]));
        }
        shown("rolls back from 100 to 1");
        shown("holds from 5.0 to 1");
    }
}

#[test]
fn of_a_long_release_some_windows_are_listed_and_the_page_says_how_many_are_not() {
    let tale = stories::day();
    assert!(
        tale.account.windows.len() > 1_300,
        "{}",
        tale.account.windows.len()
    );
    let html = tale.page().html();
    let rows = html.matches("<tr><th scope=\"row\">").count();
    let left_out = tale.account.windows.len() - rows;
    assert!(
        rows > 300 && left_out > 300,
        "{rows} listed, {left_out} not"
    );
    assert!(html.contains(&format!(
        "{} are not listed; every change",
        grouped(left_out as u64)
    )));
}

#[test]
fn no_page_of_a_release_outgrows_its_bound() {
    let long: Vec<_> = (0..1_000)
        .map(|n| format!("{n}{}", "<&>'\"|*_[@x".repeat(28)))
        .collect();
    let long: Vec<_> = long.iter().map(String::as_str).collect();
    for tale in [stories::with_texts(&long), stories::of_many_metrics()] {
        let bytes = tale.page().html().len();
        assert!(
            bytes > RELEASE_HTML_BYTES_MAX / 12,
            "{}: {bytes} is no test",
            tale.name
        );
        assert!(bytes <= RELEASE_HTML_BYTES_MAX, "{}: {bytes}", tale.name);
    }
}
