//! JaCoCo's dialects.

use std::fmt::Write;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError};

const DOCTYPE: &str = "<!DOCTYPE report PUBLIC '-//JACOCO//DTD Report 1.1//EN' 'report.dtd'>";

fn read(xml: &str) -> CoverageReport {
    let report = reports::read("jacoco.xml", xml.as_bytes(), None).unwrap();
    assert_eq!(report.format.name(), "jacoco");
    match report.content {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

fn of(inside: &str) -> CoverageReport {
    read(&format!("{DOCTYPE}<report name='shop'>{inside}</report>"))
}

#[test]
fn a_dtd_is_neither_read_nor_fetched_and_one_with_entities_is_refused() {
    assert_eq!(of("").lines(), Ratio::new(0, 0));
    let own = "<!DOCTYPE report [<!ENTITY a 'aaaa'>]><report name='shop'>&a;</report>";
    let error = reports::read("jacoco.xml", own.as_bytes(), None).unwrap_err();
    assert!(matches!(error, ReadError::Entities { .. }), "{error}");
}

#[test]
fn a_line_ran_when_any_of_its_instructions_did() {
    let lines = "<line nr='1' mi='3' ci='1' mb='1' cb='1'/><line nr='2' mi='1' ci='0'/>\
                 <line nr='3' mi='0' ci='0'/>";
    let report = of(&format!(
        "<package name='a/b'><sourcefile name='C.java'>{lines}</sourcefile></package>"
    ));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(1, 2), Ratio::new(1, 2))
    );
    let (path, file) = report.files().next().unwrap();
    assert_eq!(path, "a/b/C.java");
    assert!(file.map().lines().eq([(1, true), (2, false)]));
}

#[test]
fn the_packages_of_all_groups_are_read() {
    let file =
        |name: &str| format!("<sourcefile name='{name}'><line nr='1' mi='0' ci='1'/></sourcefile>");
    let report = of(&format!(
        "<group name='core'><group name='deep'><package name='a'>{}</package></group></group>\
         <group name='web'><package name=''>{}</package></group>",
        file("A.kt"),
        file("Main.kt"),
    ));
    let paths: Vec<_> = report.files().map(|(path, _)| path).collect();
    assert_eq!(paths, ["Main.kt", "a/A.kt"]);
}

#[test]
fn the_files_of_one_path_in_two_groups_are_two() {
    let group = |name: &str, lines: &[u32]| {
        let lines = lines
            .iter()
            .map(|nr| format!("<line nr='{nr}' mi='{}' ci='1'/>", nr % 2));
        let lines: String = lines.collect();
        format!(
            "<group name='{name}'><package name='a'><sourcefile name='Main.kt'>{lines}\
             </sourcefile></package></group>"
        )
    };
    let report = of(&(group("core", &[1, 2]) + &group("web", &[1, 2, 3])));
    assert_eq!((report.files().count(), report.lines().valid), (2, 5));
    let same = of(&(group("core", &[1, 2]) + &group("again", &[1, 2])));
    assert_eq!((same.files().count(), same.lines().valid), (1, 2));
}

#[test]
fn counters_count_where_there_are_no_lines() {
    let file = "<sourcefile name='A.java'><counter type='INSTRUCTION' missed='9' covered='9'/>\
                <counter type='LINE' missed='1' covered='3'/>\
                <counter type='BRANCH' missed='1' covered='1'/></sourcefile>";
    let sums = "<counter type='LINE' missed='50' covered='50'/><counter type='BRANCH' missed='5' covered='5'/>";
    let package = format!("<package name='a'>{file}{sums}</package>");
    let report = of(&format!("{package}{sums}"));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(3, 4), Ratio::new(1, 2))
    );
    assert_eq!(of(sums).lines(), Ratio::new(50, 100));
    assert_eq!(of(sums).branches(), Ratio::new(5, 10));
}

#[test]
fn lines_without_instructions_leave_the_counting_to_the_counters() {
    // As gcovr 8.8 writes it.
    let report = read(
        "<?xml version='1.0' encoding='utf-8'?>\n\
         <!DOCTYPE report SYSTEM 'https://www.jacoco.org/jacoco/trunk/coverage/report.dtd'>\n\
         <report name='GCOVR report'><package name=''><sourcefile name='cart.c'><line nr='1'/>\
         <line nr='2' mb='1' cb='3'/><line nr='3' mb='1' cb='1'/><line nr='6'/>\
         <line nr='8' mb='2' cb='2'/><counter type='LINE' missed='1' covered='4'/>\
         <counter type='BRANCH' missed='4' covered='6'/></sourcefile></package></report>",
    );
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(4, 5), Ratio::new(6, 10))
    );
}

#[test]
fn the_first_session_is_when_it_began() {
    let sessions = "<sessioninfo id='a' start='1795422660402' dump='1'/>\
                    <sessioninfo id='b' start='1795422600000' dump='1'/><sessioninfo start='x'/>";
    let xml = format!("<report name=''>{sessions}</report>");
    let report = reports::read("jacoco.xml", xml.as_bytes(), None).unwrap();
    let expected = "2026-11-23T08:30:00Z".parse().unwrap();
    assert_eq!(report.provenance.began, Some(expected));
}

#[test]
fn numbers_that_are_none_are_bounded_or_passed_over() {
    let line = |line: &str| {
        let xml = format!(
            "<report name='a'><package name='a'><sourcefile name='b'>{line}</sourcefile></package></report>"
        );
        reports::read("jacoco.xml", xml.as_bytes(), None)
    };
    for harmless in [
        "<line/>",
        "<line nr='-1' mi='1' ci='1'/>",
        "<line nr='NaN' mi='1' ci='1'/>",
        "<line nr='1' mi='-1' ci='1e3'/>",
    ] {
        let Content::Coverage(report) = line(harmless).unwrap().content else {
            panic!("another report")
        };
        assert_eq!(report.lines(), Ratio::default(), "{harmless}");
    }
    let most = u64::MAX;
    assert!(
        line(&format!(
            "<line nr='1' mi='{most}' ci='{most}' mb='{most}' cb='{most}'/>"
        ))
        .is_ok()
    );
    let error = line("<line nr='1000001' mi='1' ci='1'/>").unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::btree_map(
            "[a-z]{1,3}/[A-Z][a-z]{0,3}[.]java",
            prop::collection::btree_map(1..500u32, (0..3u32, 0..3u32, 0..3u32, 0..3u32), 1..20),
            0..6,
        ),
    ) {
        let mut xml = format!("{DOCTYPE}<report name='all'>");
        for (path, lines) in &files {
            let (package, name) = path.split_once('/').unwrap();
            write!(xml, "<package name='{package}'><sourcefile name='{name}'>").unwrap();
            for (line, (mi, ci, mb, cb)) in lines {
                write!(xml, "<line nr='{line}' mi='{mi}' ci='{ci}' mb='{mb}' cb='{cb}'/>").unwrap();
            }
            xml.push_str("</sourcefile></package>");
        }
        let report = read(&(xml + "</report>"));
        prop_assert_eq!(report.files().count(), files.len());
        for (path, file) in report.files() {
            let lines = &files[path];
            let run = lines.iter().filter(|(_, (mi, ci, ..))| mi + ci > 0);
            prop_assert!(file.map().lines().eq(run.map(|(&line, (_, ci, ..))| (line, *ci > 0))));
            let sum = |of: fn(&(u32, u32, u32, u32)) -> u32| lines.values().map(of).sum::<u32>().into();
            let branches = Ratio::new(sum(|line| line.3), sum(|line| line.2 + line.3));
            prop_assert_eq!(file.branches(), branches);
        }
    }
}
