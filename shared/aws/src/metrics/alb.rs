//! What an Application Load Balancer counts by target group.

use jiff::SignedDuration;
use release::config::AlbRule;

use super::{Count, Series, arn_tail};

const NAMESPACE: &str = "AWS/ApplicationELB";
/// In seconds, one sample for each request that a target answered.
const RESPONSE_TIME: &str = "TargetResponseTime";

/// Failed requests. Connections that could not be made get a 502 from the load balancer, not from a
/// target, so they count besides the targets' own errors. A target that accepts a connection and
/// then drops it, or lets it time out, is counted by no metric of a target group; guard against it
/// with an alarm.
pub(super) fn errors(alb: &AlbRule, group: &str) -> Count {
    let sum = |name| series(alb, group, name, "Sum".to_owned());
    Count {
        total: vec![sum("RequestCount")],
        bad: vec![
            sum("HTTPCode_Target_5XX_Count"),
            sum("TargetConnectionErrorCount"),
        ],
    }
}

/// Requests that took longer than `time` until their answer began.
pub(super) fn slower_than(alb: &AlbRule, group: &str, time: SignedDuration) -> Count {
    let micros = time.as_micros();
    let slower = format!("TC({}.{:06}:)", micros / 1_000_000, micros % 1_000_000);
    Count {
        total: vec![response_time(alb, group, "SampleCount".to_owned())],
        bad: vec![response_time(alb, group, slower)],
    }
}

/// This statistic of the response times, in seconds.
pub(super) fn response_time(alb: &AlbRule, group: &str, stat: String) -> Series {
    series(alb, group, RESPONSE_TIME, stat)
}

fn series(alb: &AlbRule, group: &str, name: &str, stat: String) -> Series {
    let dimension = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Series::Metric {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        dimensions: vec![
            dimension("LoadBalancer", alb.load_balancer()),
            dimension("TargetGroup", arn_tail(group)),
        ],
        stat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_seconds_as_cloudwatch_reads_it() {
        let alb = AlbRule {
            rule: "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1/2/3".into(),
            target_groups: [String::new(), String::new()],
        };
        for (micros, written) in [
            (250_000, "TC(0.250000:)"),
            (1, "TC(0.000001:)"),
            (61_000_500, "TC(61.000500:)"),
        ] {
            let group = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/9";
            let count = slower_than(&alb, group, SignedDuration::from_micros(micros));
            let Series::Metric {
                stat, dimensions, ..
            } = &count.bad[0]
            else {
                panic!("no metric");
            };
            assert_eq!(stat, written);
            assert_eq!(dimensions[0].1, "app/shop/1");
            assert_eq!(dimensions[1].1, "targetgroup/blue/9");
        }
    }
}
