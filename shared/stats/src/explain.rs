//! The verdict in one sentence, with the numbers that led to it.

use crate::config::JudgeConfig;
use crate::counts::Counts;
use crate::judge::{Judge, Kind, Strand};
use crate::metric::Sight;
use crate::numerals::{grouped, odds, percent, ratio, requests};
use crate::verdict::Verdict;

impl Judge {
    /// The verdict for a person, such as
    /// 'errors 2.1 % against 0.1 %, 21 times, evidence 312 to 1 after 2 300 requests'.
    ///
    /// Of several metrics it tells the one that decided.
    pub fn explain(&self, config: &JudgeConfig) -> String {
        let sentence = match self.verdict(config) {
            Verdict::Rollback => self.explain_harm(config, self.peak_log_e()),
            Verdict::Hold | Verdict::Continue => self.explain_harm(config, self.log_e(config)),
            Verdict::Promote => self.explain_good_enough(config),
            Verdict::Inconclusive => self.explain_blindness(config),
        };
        sentence.unwrap_or_else(|| "no window observed yet".to_owned())
    }

    /// One metric for a person: what it saw and its own evidence of harm, against the baseline and
    /// against its limit. `None` if the configuration does not know it.
    pub fn explain_metric(&self, config: &JudgeConfig, name: &str) -> Option<String> {
        self.metric(name)?;
        let strands = self.strands(config).filter(|strand| strand.name == name);
        let told = strands.filter_map(|strand| {
            let (seen, canary) = describe(&strand, config);
            let evidence = odds(strand.log_e);
            (canary > 0).then(|| format!("{seen}, evidence {evidence} after {}", requests(canary)))
        });
        let told: Vec<String> = told.collect();
        Some(if told.is_empty() {
            nothing_compared(name)
        } else {
            told.join("; ")
        })
    }

    /// The strongest strand of evidence, and the odds of all together.
    fn explain_harm(&self, config: &JudgeConfig, log_e: f64) -> Option<String> {
        let observed = self
            .strands(config)
            .filter(|strand| strand.metric.is_observed());
        let strongest = observed.max_by(|a, b| a.log_part().total_cmp(&b.log_part()))?;
        let (seen, canary) = describe(&strongest, config);
        Some(format!(
            "{seen}, evidence {} after {}",
            odds(log_e),
            requests(canary)
        ))
    }

    /// The metric that was the last to be good enough.
    fn explain_good_enough(&self, config: &JudgeConfig) -> Option<String> {
        let weakest = self
            .required(config)
            .min_by(|(_, a), (_, b)| a.log_ni().total_cmp(&b.log_ni()));
        let (name, metric) = weakest?;
        Some(format!(
            "{}, shown to be below {} times + {}, evidence {} after {}",
            compare(name, metric.canary(), metric.baseline()),
            config.ni_ratio,
            percent(config.ni_abs),
            odds(metric.log_ni()),
            requests(metric.canary().count),
        ))
    }

    /// The metric that is furthest from telling anything.
    fn explain_blindness(&self, config: &JudgeConfig) -> Option<String> {
        let sights = self
            .required(config)
            .map(|(name, metric)| (metric.sight(config), name, metric));
        let (sight, name, metric) = sights.max_by_key(|(sight, _, _)| *sight)?;
        match sight {
            Sight::Clear => None,
            Sight::TooFewRequests { needed } => Some(format!(
                "{name}: {} so far, {} needed to notice a rise by {}",
                requests(metric.canary().count),
                grouped(needed),
                percent(config.blind_abs),
            )),
            Sight::NoRequests => Some(nothing_compared(name)),
        }
    }
}

fn nothing_compared(name: &str) -> String {
    format!("{name}: no window yet in which both arms had requests")
}

/// What a strand saw, and on how many canary requests.
fn describe(strand: &Strand<'_>, config: &JudgeConfig) -> (String, u64) {
    let Strand {
        name, metric, kind, ..
    } = *strand;
    match kind {
        Kind::Comparison => {
            let canary = metric.canary();
            (compare(name, canary, metric.baseline()), canary.count)
        }
        Kind::Limit => {
            let canary = metric.canary_under_limit().unwrap_or_default();
            let limit = config.slo.get(name).copied().unwrap_or_default();
            let rate = canary.rate().unwrap_or_default();
            let (seen, allowed) = (percent(rate), percent(limit));
            let sentence = format!(
                "{name} {seen} against a limit of {allowed}{}",
                times(rate, limit)
            );
            (sentence, canary.count)
        }
    }
}

/// 'errors 2.1 % against 0.1 %, 21 times'.
fn compare(name: &str, canary: Counts, baseline: Counts) -> String {
    let (Some(rate), Some(base)) = (canary.rate(), baseline.rate()) else {
        return format!("{name} not compared yet");
    };
    if baseline.bad == 0 {
        return format!(
            "{name} {} against none in {}",
            percent(rate),
            grouped(baseline.count)
        );
    }
    format!(
        "{name} {} against {}{}",
        percent(rate),
        percent(base),
        times(rate, base)
    )
}

/// ', 21 times', or nothing when there is nothing to multiply.
fn times(rate: f64, base: f64) -> String {
    if rate > 0.0 && base > 0.0 {
        format!(", {} times", ratio(rate / base))
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(config: &JudgeConfig, windows: &[(&str, [u64; 4])]) -> Judge {
        let mut judge = Judge::new(config);
        for &(metric, [canary, canary_bad, baseline, baseline_bad]) in windows {
            let canary = Counts::new(canary, canary_bad).unwrap();
            let baseline = Counts::new(baseline, baseline_bad).unwrap();
            judge.observe(config, metric, canary, baseline).unwrap();
        }
        judge
    }

    fn judged(config: &JudgeConfig, windows: &[(&str, [u64; 4])]) -> String {
        judge(config, windows).explain(config)
    }

    #[test]
    fn every_verdict_is_explained_by_its_numbers() {
        let config = JudgeConfig {
            hold: 5.0,
            ..JudgeConfig::default()
        };
        let steady = ("errors", [3000, 3, 57_000, 55]);
        for (windows, expected) in [
            (&[][..], "no window observed yet"),
            (
                &[("errors", [600, 12, 59_400, 59])],
                "errors 2 % against 0.099 %, 20 times, evidence",
            ),
            (
                &[steady; 9],
                "errors 0.1 % against 0.096 %, 1.0 times, shown to be below 1.25 times",
            ),
            (
                &[steady],
                "errors 0.1 % against 0.096 %, 1.0 times, evidence 0.7 to 1 after 3 000 r",
            ),
            (
                &[("errors", [600, 2, 59_400, 0])],
                "errors 0.33 % against none in 59 400, evidence",
            ),
            (
                &[steady, ("slow:p90", [9, 1, 990, 99])],
                "slow:p90: 9 requests so far, 492 needed to notice a rise by 5 %",
            ),
            (
                &[steady, ("slow:p90", [9, 1, 0, 0])],
                "slow:p90: no window yet in which both arms had requests",
            ),
        ] {
            let sentence = judged(&config, windows);
            assert!(sentence.starts_with(expected), "{sentence}");
        }
    }

    #[test]
    fn a_broken_limit_is_explained_by_the_limit() {
        let config: JudgeConfig = serde_json::from_str(
            r#"{"slo": {"errors": 0.01}, "weights": {"errors": 0.5, "slo:errors": 0.5}}"#,
        )
        .unwrap();
        let sentence = judged(&config, &[("errors", [2000, 90, 0, 0])]);
        let expected = "errors 4.5 % against a limit of 1 %, 4.5 times, \
                        evidence over 10^15 to 1 after 2 000 requests";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn each_metric_is_explained_by_its_own_evidence() {
        let config: JudgeConfig = serde_json::from_str(
            r#"{"slo": {"errors": 0.05}, "weights": {"errors": 0.5, "slo:errors": 0.2, "slow:p90": 0.3}}"#,
        )
        .unwrap();
        let judge = judge(&config, &[("errors", [600, 12, 59_400, 59])]);
        let own = judge.metric("errors").unwrap().log_e();
        let together = judge.log_e(&config);
        assert!(own - together > 0.5, "{own} {together}");
        let told = judge.explain_metric(&config, "errors").unwrap();
        let expected = format!(
            "errors 2 % against 0.099 %, 20 times, evidence {} after 600 requests; \
             errors 2 % against a limit of 5 %, 0.4 times, evidence 0.4 to 1 after 600 requests",
            odds(own)
        );
        assert_eq!(told, expected);
        assert_eq!(
            judge.explain_metric(&config, "slow:p90").unwrap(),
            "slow:p90: no window yet in which both arms had requests"
        );
        assert_eq!(judge.explain_metric(&config, "slow:p99"), None);
    }
}
