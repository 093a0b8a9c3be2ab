use proptest::prelude::*;

use super::*;

fn check(in_a_row: u32, within_s: i64) -> Option<Check> {
    let mut check = None;
    check.apply(&CheckEvent::Started {
        at: Timestamp::UNIX_EPOCH,
        plan: CheckPlan {
            probes: Vec::new(),
            interval: SignedDuration::from_secs(1),
            in_a_row,
            within: SignedDuration::from_secs(within_s),
        },
    });
    check
}

/// Plays rounds a second apart; the number of rounds it took, and how it ended.
fn play(mut check: Option<Check>, rounds: impl IntoIterator<Item = bool>) -> Option<(usize, bool)> {
    for (number, healthy) in rounds.into_iter().enumerate() {
        let now = check.as_ref().unwrap().next_round();
        let probed = vec![Probed {
            healthy,
            detail: "seen".to_owned(),
        }];
        for event in check.clone().unwrap().after_round(now, probed) {
            check.apply(&event);
        }
        if let Some((healthy, _)) = check.as_ref().unwrap().ended {
            return Some((number + 1, healthy));
        }
    }
    None
}

#[test]
fn one_bad_round_starts_the_row_again() {
    let rounds = [true, true, false, true, true, true];
    assert_eq!(play(check(3, 100), rounds), Some((6, true)));
}

#[test]
fn a_target_that_does_not_get_healthy_in_time_fails() {
    assert_eq!(play(check(3, 5), [false; 50]), Some((6, false)));
}

#[test]
fn the_reply_says_what_was_seen() {
    let mut healthy = check(1, 5);
    let probed = vec![Probed {
        healthy: false,
        detail: "http://x answered 500, not 200".to_owned(),
    }];
    let round = CheckEvent::Round {
        at: Timestamp::UNIX_EPOCH,
        probed,
    };
    healthy.apply(&round);
    let story = ReleaseId::for_job("web", "1").unwrap();
    let JobReply::Continue { summary, token, .. } = healthy.unwrap().reply(&story) else {
        panic!("it is not over yet");
    };
    assert_eq!(token, Token::of(story));
    assert!(summary.contains("answered 500"), "{summary}");
}

proptest! {
    #[test]
    fn it_ends_healthy_exactly_when_a_row_is_complete_in_time(
        rounds in prop::collection::vec(any::<bool>(), 1..40),
        in_a_row in 1_u32..6,
        within in 1_i64..30,
    ) {
        let row = rounds.windows(in_a_row as usize).position(|w| w.iter().all(|h| *h));
        let row_at = row.map(|start| start + in_a_row as usize);
        let late_at = usize::try_from(within).unwrap() + 1;
        let expected = match row_at {
            Some(at) if at <= late_at => Some((at, true)),
            _ if rounds.len() >= late_at => Some((late_at, false)),
            _ => None,
        };
        prop_assert_eq!(play(check(in_a_row, within), rounds), expected);
    }
}
