//! The coverage of a part of the code: which file of a report a changed one is, and which of its
//! lines count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::*;
use reports::{
    CANDIDATES_MAX, ChangedCoverage, Content, CoverageReport, Diff, MISSED_LISTED_MAX, Ratio,
    ReadError,
};

/// Lines 1 to 4 can run, and 1 and 2 did.
const HALF: &str = "DA:1,1\nDA:2,1\nDA:3,0\nDA:4,0";

fn report<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> CoverageReport {
    let mut info = String::new();
    for (path, lines) in files {
        writeln!(info, "SF:{path}\n{lines}\nend_of_record").unwrap();
    }
    // There is no LCOV report of no files.
    if info.is_empty() {
        return CoverageReport::default();
    }
    let lcov = Some("lcov".parse().unwrap());
    match reports::read("lcov.info", info.as_bytes(), lcov)
        .unwrap()
        .content
    {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// The report of files of which each is half covered.
fn halves(paths: &[&str]) -> CoverageReport {
    report(paths.iter().map(|path| (*path, HALF)))
}

/// A diff that adds these lines of each file.
fn diff<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u32>)>) -> Diff {
    let mut text = String::new();
    for (path, lines) in files {
        writeln!(text, "--- a/{path}\n+++ b/{path}").unwrap();
        for line in lines {
            writeln!(text, "@@ -0,0 +{line} @@\n+x").unwrap();
        }
    }
    Diff::read("changes.diff", text.as_bytes()).unwrap()
}

/// How much of a change of lines 2 and 3 of these files ran: one of two, where they are measured.
fn changed(report: &CoverageReport, paths: &[&str]) -> ChangedCoverage {
    report.of_changed(&diff(paths.iter().map(|path| (*path, vec![2, 3]))))
}

#[test]
fn only_changed_lines_that_can_run_count() {
    let report = halves(&["src/a.js", "src/b.js"]);
    let changed = report.of_changed(&diff([("src/a.js", vec![1, 3, 4, 5, 900])]));
    let expected = ChangedCoverage {
        lines: Ratio::new(1, 3),
        missed: vec![("src/a.js".to_owned(), 3), ("src/a.js".to_owned(), 4)],
        unmeasured: BTreeSet::new(),
    };
    assert_eq!(changed, expected);
    assert_eq!(
        report.of_changed(&Diff::default()),
        ChangedCoverage::default()
    );
}

#[test]
fn a_path_is_found_by_its_end_whichever_of_the_two_is_longer() {
    for (in_report, in_diff) in [
        ("src/a.js", "src/a.js"),
        ("./src/a.js", "src/a.js"),
        ("/build/src/a.js", "src/a.js"),
        ("C:\\build\\src\\a.js", "src/a.js"),
        ("example.com/shop/cart/cart.go", "cart/cart.go"),
        ("com/acme/A.java", "core/src/main/java/com/acme/A.java"),
        ("../lib/a.c", "lib/a.c"),
        ("/build/obj/../lib/a.c", "lib/a.c"),
        ("A.java", "src/A.java"),
    ] {
        let changed = changed(&halves(&[in_report]), &[in_diff]);
        assert_eq!(changed.lines, Ratio::new(1, 2), "{in_report}");
        assert!(changed.unmeasured.is_empty(), "{in_report}");
    }
}

#[test]
fn a_path_is_compared_by_its_parts_and_to_its_begin() {
    for (in_report, in_diff) in [
        ("src/data.js", "src/a.js"),
        ("src/a.js", "lib/a.js"),
        ("/app/web/src/a.js", "api/src/a.js"),
        ("src/a.js", "src/A.js"),
        ("src/a.js/b", "src/a.js"),
        ("", "src/a.js"),
        ("/", "src/a.js"),
    ] {
        let changed = changed(&halves(&[in_report]), &[in_diff]);
        assert_eq!(changed.lines, Ratio::default(), "{in_report}");
        assert_eq!(changed.unmeasured.len(), 1, "{in_report}");
    }
}

#[test]
fn the_path_with_the_most_in_common_is_taken() {
    let all = "DA:2,1\nDA:3,1";
    let report = report([("a.js", all), ("src/a.js", all), ("web/src/a.js", HALF)]);
    assert_eq!(
        changed(&report, &["x/web/src/a.js"]).lines,
        Ratio::new(1, 2)
    );
    assert_eq!(changed(&report, &["web/src/a.js"]).lines, Ratio::new(1, 2));
    assert_eq!(changed(&report, &["x/src/a.js"]).lines, Ratio::new(2, 2));
    // The same path, though others end with it.
    assert_eq!(changed(&report, &["src/a.js"]).lines, Ratio::new(2, 2));
}

#[test]
fn of_several_files_that_it_may_be_all_have_to_have_run() {
    let report = report([
        ("/b/x/a.js", "DA:1,1\nDA:2,1"),
        ("/b/y/a.js", "DA:2,0\nDA:3,1"),
    ]);
    let changed = report.of_changed(&diff([("a.js", vec![1, 2, 3, 4])]));
    assert_eq!(changed.lines, Ratio::new(2, 3));
    assert_eq!(changed.missed, [("a.js".to_owned(), 2)]);
}

#[test]
fn a_file_that_may_be_too_many_is_unmeasured() {
    let paths: Vec<_> = (0..=CANDIDATES_MAX)
        .map(|number| format!("/b/{number}/index.js"))
        .collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let most = halves(&paths[..CANDIDATES_MAX]);
    assert_eq!(changed(&most, &["index.js"]).lines, Ratio::new(1, 2));
    let more = changed(&halves(&paths), &["index.js"]);
    assert_eq!((more.lines, more.unmeasured.len()), (Ratio::default(), 1));
}

#[test]
fn a_measured_file_that_may_be_several_changed_ones_is_none_of_them() {
    let report = halves(&["src/a.js"]);
    let both = changed(&report, &["web/src/a.js", "api/src/a.js"]);
    assert_eq!((both.lines, both.unmeasured.len()), (Ratio::default(), 2));
    // Unless one of them is called the same.
    let same = changed(&report, &["web/src/a.js", "src/a.js"]);
    assert_eq!(same.lines, Ratio::new(1, 2));
    assert!(same.unmeasured.contains("web/src/a.js"));
    // Or has more in common.
    let longer = changed(&halves(&["/build/src/a.js"]), &["a.js", "src/a.js"]);
    assert_eq!(longer.lines, Ratio::new(1, 2));
    assert!(longer.unmeasured.contains("a.js"));
}

#[test]
fn a_file_of_which_only_numbers_are_known_is_unmeasured() {
    let report = report([("src/a.js", "LF:4\nLH:4")]);
    assert_eq!(report.lines(), Ratio::new(4, 4));
    let changed = changed(&report, &["src/a.js"]);
    assert_eq!(
        (changed.lines, changed.unmeasured.len()),
        (Ratio::default(), 1)
    );
}

#[test]
fn lines_are_marked_where_a_format_counts_statements() {
    let profile = "mode: set\nexample.com/shop/cart/cart.go:5.40,9.2 7 1\nexample.com/shop/cart/cart.go:12.2,13.14 2 0\n";
    let Content::Coverage(report) = reports::read("c.out", profile.as_bytes(), None)
        .unwrap()
        .content
    else {
        panic!("no coverage")
    };
    let changed = report.of_changed(&diff([("cart/cart.go", vec![4, 8, 9, 12])]));
    assert_eq!(changed.lines, Ratio::new(2, 3));
}

#[test]
fn the_lines_that_are_listed_are_bounded_and_all_are_counted() {
    let lines: Vec<_> = (1..=2_000).map(|line| format!("DA:{line},0")).collect();
    let report = report([("a.js", &lines.join("\n")[..])]);
    let changed = report.of_changed(&diff([("a.js", (1..=2_000).collect())]));
    assert_eq!(changed.lines, Ratio::new(0, 2_000));
    assert_eq!(changed.missed.len(), MISSED_LISTED_MAX);
}

#[test]
fn a_pattern_takes_an_absolute_path_from_any_of_its_parts() {
    let report = halves(&[
        "/build/src/core/a.js",
        "/build/src/a.js",
        "src/core/b.js",
        "lib/src/c.js",
    ]);
    for (glob, files) in [
        ("src/**", 3),
        ("./src/**", 3),
        ("src/*.js", 1),
        ("core/*.js", 1),
        ("**/core/*.js", 2),
        ("/build/**", 2),
        ("build/src/*.js", 1),
        ("**", 4),
        ("{src,lib}/**/{b,c}.js", 2),
        ("rc/**", 0),
        ("nothing", 0),
    ] {
        let expected = Ratio::new(2 * files, 4 * files);
        assert_eq!(report.of_paths(glob).unwrap(), expected, "{glob}");
    }
    let error = report.of_paths("[a").unwrap_err();
    assert!(
        matches!(&error, ReadError::Glob { glob, .. } if glob == "[a"),
        "{error}"
    );
}

#[test]
fn paths_made_to_be_slow_are_not() {
    // Many files of one name, and paths of as many parts as fit.
    let deep: Vec<_> = (0..500)
        .map(|number| format!("{number}{}/a.js", "/a".repeat(500)))
        .collect();
    let report = halves(&deep.iter().map(String::as_str).collect::<Vec<_>>());
    let changed = changed(
        &report,
        &deep.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // They are alike in all the parts that are compared.
    assert_eq!(changed.lines, Ratio::default());
    assert_eq!(changed.unmeasured.len(), deep.len());
    assert_eq!(report.of_paths("a/**/a/**/a.js").unwrap(), Ratio::default());
}

proptest! {
    /// With the report's paths and the diff's all below one folder there is no doubt, and what is
    /// counted is what a look at each line would count.
    #[test]
    fn each_changed_line_is_looked_up(
        files in prop::collection::btree_map(
            "[a-c]/[a-c][.]js",
            prop::collection::btree_map(1..60u32, any::<bool>(), 1..30),
            1..6,
        ),
        changes in prop::collection::btree_map(
            "[a-c]/[a-c][.]js",
            prop::collection::btree_set(1..60u32, 1..30),
            0..6,
        ),
    ) {
        let texts: BTreeMap<_, _> = files.iter().map(|(path, lines)| {
            let lines = lines.iter().map(|(line, ran)| format!("DA:{line},{}", u8::from(*ran)));
            (format!("/build/{path}"), lines.collect::<Vec<_>>().join("\n"))
        }).collect();
        let report = report(texts.iter().map(|(path, lines)| (&path[..], &lines[..])));
        let lines = changes.iter().map(|(path, lines)| (&path[..], lines.iter().copied().collect()));
        let seen = report.of_changed(&diff(lines));
        let mut expected = ChangedCoverage::default();
        for (path, lines) in &changes {
            match files.get(path) {
                None => drop(expected.unmeasured.insert(path.clone())),
                Some(known) => for line in lines {
                    if let Some(&ran) = known.get(line) {
                        expected.lines += Ratio::new(ran.into(), 1);
                        if !ran {
                            expected.missed.push((path.clone(), *line));
                        }
                    }
                },
            }
        }
        prop_assert_eq!(seen, expected);
    }

    /// Whatever the paths are: no line counts that is not changed, and no file is in two places.
    #[test]
    fn nothing_is_counted_twice(
        measured in prop::collection::btree_set("(/?[ab.]{1,2}/){0,4}[ab][.]js", 0..12),
        touched in prop::collection::btree_set("([ab]/){0,3}[ab][.]js", 0..8),
    ) {
        let report = halves(&measured.iter().map(String::as_str).collect::<Vec<_>>());
        let seen = changed(&report, &touched.iter().map(String::as_str).collect::<Vec<_>>());
        let found = touched.len() - seen.unmeasured.len();
        prop_assert_eq!(seen.lines, Ratio::new(found as u64, 2 * found as u64));
    }
}
