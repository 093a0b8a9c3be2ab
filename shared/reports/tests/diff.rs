//! What a diff says is changed, in every way that diffs are written.

use std::fmt::Write;

use proptest::prelude::*;
use reports::{Diff, ReadError};

fn try_read(diff: &str) -> Result<Diff, ReadError> {
    Diff::read("changes.diff", diff.as_bytes())
}

/// Each file with its changed lines, as `path: 3-5 9`.
fn changed(diff: &str) -> Vec<String> {
    let diff = try_read(diff).unwrap();
    let files = diff.files().map(|(path, lines)| {
        let mut line = format!("{path}:");
        for lines in lines {
            match lines.start() == lines.end() {
                true => write!(line, " {}", lines.start()).unwrap(),
                false => write!(line, " {}-{}", lines.start(), lines.end()).unwrap(),
            }
        }
        line
    });
    files.collect()
}

/// One hunk that adds line 2.
const HUNK: &str = "@@ -1,2 +1,3 @@ fn x() {\n a\n+b\n c\n";

#[test]
fn lines_are_numbered_as_they_are_after_the_change() {
    let diff = "diff --git a/src/a.rs b/src/a.rs\nindex 98a342a..ebe058c 100644\n--- a/src/a.rs\n+++ b/src/a.rs\n\
                @@ -1,4 +1,5 @@\n one\n-two\n+TWO\n+and a half\n three\n four\n\
                @@ -20 +21,2 @@ fn far() {\n-x\n+y\n+z\n\\ No newline at end of file\n\
                @@ -30,2 +32 @@\n a\n-b\n\
                @@ -40,0 +42,3 @@\n+1\n+2\n+3\n";
    assert_eq!(changed(diff), ["src/a.rs: 2-3 21-22 42-44"]);
}

#[test]
fn an_empty_diff_changes_nothing_and_text_is_no_diff() {
    for diff in ["", "\n", "\u{feff}"] {
        assert!(try_read(diff).unwrap().is_empty());
    }
    for text in [
        "nothing to see",
        "a\nb\n--- a\n",
        "<coverage/>",
        "fatal: bad revision 'main'\n",
    ] {
        let error = try_read(text).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn every_prefix_is_taken_off_and_a_folder_is_not_taken_for_one() {
    for (head, path) in [
        (
            "diff --git a/x/a.rs b/x/a.rs\n--- a/x/a.rs\n+++ b/x/a.rs\n",
            "x/a.rs",
        ),
        (
            "diff --git i/x/a.rs w/x/a.rs\n--- i/x/a.rs\n+++ w/x/a.rs\n",
            "x/a.rs",
        ),
        (
            "diff --git c/x/a.rs w/x/a.rs\n--- c/x/a.rs\n+++ w/x/a.rs\n",
            "x/a.rs",
        ),
        (
            "diff --git x/a.rs x/a.rs\n--- x/a.rs\n+++ x/a.rs\n",
            "x/a.rs",
        ),
        (
            "diff --git a/a.rs a/a.rs\n--- a/a.rs\n+++ a/a.rs\n",
            "a/a.rs",
        ),
        ("diff --git a.rs a.rs\n--- a.rs\n+++ a.rs\n", "a.rs"),
        (
            "diff --git a/b/a.rs b/b/a.rs\nnew file mode 100644\n--- /dev/null\n+++ b/b/a.rs\n",
            "b/a.rs",
        ),
        (
            "diff --git b/a.rs b/a.rs\nnew file mode 100644\n--- /dev/null\n+++ b/a.rs\n",
            "b/a.rs",
        ),
        (
            "diff --git a/a b.rs b/a b.rs\nnew file mode 100644\n--- /dev/null\n+++ b/a b.rs\t\n",
            "a b.rs",
        ),
        ("--- /dev/null\n+++ b/x/a.rs\n", "x/a.rs"),
        (
            "diff -ruN old/x/a.rs new/x/a.rs\n--- old/x/a.rs\t2026-01-01 10:00:00 +0000\n+++ new/x/a.rs\t2026-01-02\n",
            "x/a.rs",
        ),
        (
            "Index: x/a.rs\n=====\n--- x/a.rs\t(revision 1)\n+++ x/a.rs\t(working copy)\n",
            "x/a.rs",
        ),
        (
            "Index: x/a.rs\n=====\n--- x/a.rs\t(nonexistent)\n+++ x/a.rs\t(working copy)\n",
            "x/a.rs",
        ),
    ] {
        assert_eq!(
            changed(&format!("{head}{HUNK}")),
            [format!("{path}: 2")],
            "{head}"
        );
    }
}

#[test]
fn quoted_paths_are_read_byte_by_byte() {
    let head = r#"diff --git "a/sch\303\266n \"q\"\t.rs" "b/sch\303\266n \"q\"\t.rs""#;
    let names =
        "--- \"a/sch\\303\\266n \\\"q\\\"\\t.rs\"\n+++ \"b/sch\\303\\266n \\\"q\\\"\\t.rs\"\n";
    assert_eq!(
        changed(&format!("{head}\n{names}{HUNK}")),
        ["schön \"q\" .rs: 2"]
    );
    let new = names.replacen("\"a/sch\\303\\266n \\\"q\\\"\\t.rs\"", "/dev/null", 1);
    assert_eq!(
        changed(&format!("{head}\n{new}{HUNK}")),
        ["schön \"q\" .rs: 2"]
    );
    for odd in [
        r#""b/\"#,
        r#""b/\7"#,
        r#""b/\777x""#,
        r#""b/\xff""#,
        r#"""#,
        "\"b/",
    ] {
        assert!(
            try_read(&format!("--- a/x\n+++ {odd}\n{HUNK}")).is_ok(),
            "{odd}"
        );
    }
}

#[test]
fn files_without_added_lines_are_none() {
    let diff = format!(
        "diff --git a/gone.rs b/gone.rs\ndeleted file mode 100644\n--- a/gone.rs\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n--- b\n\
         diff --git a/less.rs b/less.rs\n--- a/less.rs\n+++ b/less.rs\n@@ -1,2 +1 @@\n a\n-b\n\
         diff --git a/old.rs b/same.rs\nsimilarity index 100%\nrename from old.rs\nrename to same.rs\n\
         diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n\
         diff --git a/a.png b/a.png\nindex 1..2 100644\nBinary files a/a.png and b/a.png differ\n\
         diff --git a/b.png b/b.png\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmYdH\n\nliteral 0\nHcmV?d\n\n\
         Index: c.png\n=====\nCannot display: file marked as a binary type.\nsvn:mime-type = application/octet-stream\n\
         Index: d.rs\n=====\n--- d.rs\t(revision 1)\n+++ d.rs\t(working copy)\n{HUNK}\n\
         Property changes on: d.rs\n_____\nAdded: svn:eol-style\n## -0,0 +1 ##\n+native\n"
    );
    assert_eq!(changed(&diff), ["d.rs: 2"]);
}

#[test]
fn a_file_that_moved_is_known_by_its_new_path() {
    for word in ["rename", "copy"] {
        let diff = format!(
            "diff --git a/a/x.rs b/b/x.rs\nsimilarity index 90%\n{word} from a/x.rs\n{word} to b/x.rs\n--- a/a/x.rs\n+++ b/b/x.rs\n{HUNK}"
        );
        assert_eq!(changed(&diff), ["b/x.rs: 2"], "{word}");
        // Without prefixes.
        let diff = diff
            .replace("a/a/x.rs", "a/x.rs")
            .replace("b/b/x.rs", "b/x.rs");
        assert_eq!(changed(&diff), ["b/x.rs: 2"], "{word}");
    }
}

#[test]
fn what_looks_like_a_head_within_a_hunk_is_text() {
    let diff = "--- a/a.sql\n+++ b/a.sql\n@@ -1,3 +1,5 @@\n--- a/b.sql\n+++ b/b.sql\n+@@ -1 +1 @@\n+diff --git a/c b/c\n c\n\n";
    assert_eq!(changed(diff), ["a.sql: 1-3"]);
}

#[test]
fn the_mail_around_a_patch_is_passed_over() {
    let diff = format!(
        "From 98a342 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.com>\nSubject: [PATCH] Add a line\n\nBecause.\n---\n \
         a.rs | 1 +\n 1 file changed, 1 insertion(+)\n\ndiff --git a/a.rs b/a.rs\n--- a/a.rs\n+++ b/a.rs\n{HUNK}-- \n2.39.5\n\n"
    );
    assert_eq!(changed(&diff), ["a.rs: 2"]);
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    let patch = format!("diff --git a/a.rs b/a.rs\n--- a/a.rs\n+++ b/a.rs\n{HUNK}-- \n2.39.5\n\n");
    let error = try_read(&format!("{patch}{patch}")).unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
}

#[test]
fn the_diff_of_a_merge_is_refused() {
    for diff in [
        "diff --cc a.rs\nindex 1,2..3\n--- a/a.rs\n+++ b/a.rs\n@@@ -1,1 -1,1 +1,2 @@@\n  a\n++b\n",
        "diff --combined a.rs\n",
        "--- a/a.rs\n+++ b/a.rs\n@@@ -1,1 -1,1 +1,2 @@@\n",
    ] {
        let error = try_read(diff).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_hunk_that_is_not_what_its_head_says_is_refused_or_cut_off() {
    let hunk = |hunk: &str| try_read(&format!("--- a/a.rs\n+++ b/a.rs\n{hunk}"));
    for broken in [
        "@@ -1,2 +1,2 @@\n a\ndiff --git a/b b/b\n",
        "@@ -1 +1 @@\n+a\n+b\n",
        "@@ -1,2 +0,0 @@\n-a\n b\n",
        "@@ -1 +x @@\n",
        "@@ -1 @@\n",
        "@@ 1 1 @@\n",
        "@@ -1 +99999999999999999999 @@\n",
        "@@ -1,0 +5,1 @@\n+a\n@@ -1,0 +5,1 @@\n+a\n",
    ] {
        let error = hunk(broken).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{broken}: {error}"
        );
    }
    for cut in [
        "@@ -1,2 +1,3 @@\n",
        "@@ -1,2 +1,3 @@\n a\n+b\n",
        "@@ -1 +1,9 @@",
    ] {
        let error = hunk(cut).unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { .. }),
            "{cut}: {error}"
        );
    }
    let error = try_read(HUNK).unwrap_err();
    assert!(
        matches!(error, ReadError::Malformed { at, .. } if at.line == 1),
        "{error}"
    );
}

#[test]
fn lines_that_no_report_can_have_are_not_noted() {
    let diff = "--- a/a.csv\n+++ b/a.csv\n@@ -999999,0 +999999,4 @@\n+a\n+b\n+c\n+d\n\
                @@ -1 +18446744073709551615,2 @@\n-x\n+y\n+z\n";
    assert_eq!(changed(diff), ["a.csv: 999999-1000000"]);
}

#[test]
fn a_diff_as_windows_writes_it_is_read() {
    let diff = format!("diff --git a/a.rs b/a.rs\n--- a/a.rs\n+++ b/a.rs\n{HUNK}");
    assert_eq!(changed(&diff.replace('\n', "\r\n")), ["a.rs: 2"]);
    // PowerShell's `>` writes UTF-16.
    let utf16: Vec<u8> = format!("\u{feff}{diff}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let read = Diff::read("changes.diff", utf16.as_slice()).unwrap();
    assert_eq!(read, try_read(&diff).unwrap());
}

#[test]
fn more_files_or_changes_than_the_bound_are_refused() {
    let mut files = String::new();
    for number in 0..=reports::limits::DIFF_FILES_MAX {
        write!(files, "--- a/{number}\n+++ b/{number}\n@@ -0,0 +1 @@\n+a\n").unwrap();
    }
    let mut changes = String::new();
    let each = reports::limits::DIFF_RANGES_MAX * 2 / 5;
    for file in ["a", "b", "c"] {
        write!(
            changes,
            "--- a/{file}\n+++ b/{file}\n@@ -1,{each} +1,{} @@\n",
            2 * each
        )
        .unwrap();
        changes.push_str(&"+a\n b\n".repeat(each));
    }
    for diff in [files, changes] {
        let error = try_read(&diff).map(drop).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    }
}

proptest! {
    /// Writes the diff of two texts by their common lines, and reads which lines are new.
    #[test]
    fn the_lines_that_are_new_are_those_that_are_read(
        files in prop::collection::btree_map(
            "[a-z]{1,3}/[a-z ]{0,3}[a-z][.]rs",
            prop::collection::vec(prop::sample::select(vec![' ', '-', '+']), 1..60),
            0..6,
        ),
        context in 0..4usize,
    ) {
        let mut diff = String::new();
        let mut expected = Vec::new();
        for (path, kinds) in &files {
            writeln!(diff, "diff --git a/{path} b/{path}\n--- a/{path}\t\n+++ b/{path}\t").unwrap();
            let changes: Vec<_> = (0..kinds.len()).filter(|&at| kinds[at] != ' ').collect();
            let shown = |at: usize| changes.iter().any(|&change| change.abs_diff(at) <= context);
            let mut at = 0;
            while at < kinds.len() {
                let length = (at..kinds.len()).take_while(|&at| shown(at)).count();
                if length == 0 {
                    at += 1;
                    continue;
                }
                let count = |range: std::ops::Range<usize>, not: char| {
                    kinds[range].iter().filter(|&&kind| kind != not).count()
                };
                let (old, new) = (count(0..at, '+'), count(0..at, '-'));
                let (olds, news) = (count(at..at + length, '+'), count(at..at + length, '-'));
                // An empty side begins at the line before it.
                let [old, new] = [(old, olds), (new, news)].map(|(line, lines)| line + lines.min(1));
                writeln!(diff, "@@ -{old},{olds} +{new},{news} @@ fn").unwrap();
                for kind in &kinds[at..at + length] {
                    writeln!(diff, "{kind}++ text").unwrap();
                }
                at += length;
            }
            let mut line = 0;
            for kind in kinds {
                line += u32::from(*kind != '-');
                if *kind == '+' {
                    expected.push((path.clone(), line));
                }
            }
        }
        let read = try_read(&diff).unwrap();
        let lines: Vec<_> = read
            .files()
            .flat_map(|(path, lines)| lines.iter().cloned().flatten().map(|line| (path.to_owned(), line)))
            .collect();
        prop_assert_eq!(lines, expected);
    }

    #[test]
    fn any_text_is_read_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "diff --git ", "--- ", "+++ ", "@@ ", "-1 ", "+1,2 ", "@@", "\n", "\n", "\n+", "\n-", "\n ",
                "a/x", "b/x", "/dev/null", "\"", "\\303", "rename to ", "Index: ", "\t", " ", "x", "\0", "\u{85}",
            ]),
            0..80,
        ),
    ) {
        let _ = try_read(&parts.concat());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Diff::read("changes.diff", bytes.as_slice());
    }
}
