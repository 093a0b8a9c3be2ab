//! The conditions of a rule: written, counted and compared, whichever of its forms AWS answers in.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    HttpHeaderConditionConfig, QueryStringConditionConfig, QueryStringKeyValuePair, RuleCondition,
};
use release::config::TestTraffic;

/// The condition that only test traffic meets.
pub(super) fn of(test: &TestTraffic) -> RuleCondition {
    let condition = RuleCondition::builder();
    match test {
        TestTraffic::Header { name, values } => condition.field("http-header").http_header_config(
            HttpHeaderConditionConfig::builder()
                .http_header_name(name)
                .set_values(Some(values.clone()))
                .build(),
        ),
        TestTraffic::Query { key, value } => {
            let pair = QueryStringKeyValuePair::builder().key(key).value(value);
            condition.field("query-string").query_string_config(
                QueryStringConditionConfig::builder()
                    .values(pair.build())
                    .build(),
            )
        }
    }
    .build()
}

/// The conditions of another rule as a new one can have them. AWS answers with the plain and the
/// typed form of the same values, and takes only one of them.
pub(super) fn kept(conditions: &[RuleCondition]) -> Vec<RuleCondition> {
    let kept = conditions.iter().cloned().map(|mut condition| {
        let typed =
            condition.host_header_config.is_some() || condition.path_pattern_config.is_some();
        if typed || condition.values().is_empty() {
            condition.values = None;
        }
        condition
    });
    kept.collect()
}

/// How many strings all of them compare with.
pub(super) fn comparisons(conditions: &[RuleCondition]) -> usize {
    conditions.iter().map(|c| compared(c).1.len()).sum()
}

/// Whether both let the same requests pass.
pub(super) fn same(a: &[RuleCondition], b: &[RuleCondition]) -> bool {
    let all = |conditions: &[RuleCondition]| {
        let mut all: Vec<_> = conditions.iter().map(compared).collect();
        all.sort();
        all
    };
    all(a) == all(b)
}

/// The field of a condition and what it is compared with.
fn compared(condition: &RuleCondition) -> (String, BTreeSet<String>) {
    let mut all: BTreeSet<String> = condition.values().iter().cloned().collect();
    let matching = |regex: &String| format!("regex {regex}");
    if let Some(host) = condition.host_header_config() {
        all.extend(host.values().iter().cloned());
        all.extend(host.regex_values().iter().map(matching));
    }
    if let Some(path) = condition.path_pattern_config() {
        all.extend(path.values().iter().cloned());
        all.extend(path.regex_values().iter().map(matching));
    }
    if let Some(method) = condition.http_request_method_config() {
        all.extend(method.values().iter().cloned());
    }
    if let Some(source) = condition.source_ip_config() {
        all.extend(source.values().iter().cloned());
    }
    if let Some(query) = condition.query_string_config() {
        let pairs = query.values().iter();
        all.extend(pairs.map(|p| {
            format!(
                "{}={}",
                p.key().unwrap_or("*"),
                p.value().unwrap_or_default()
            )
        }));
    }
    let mut field = condition.field().unwrap_or_default().to_owned();
    if let Some(header) = condition.http_header_config() {
        let name = header.http_header_name().unwrap_or_default();
        field = format!("{field} {}", name.to_ascii_lowercase());
        all.extend(header.values().iter().cloned());
        all.extend(header.regex_values().iter().map(matching));
    }
    (field, all)
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::PathPatternConditionConfig;

    use super::*;

    fn path(plain: &[&str], typed: &[&str]) -> RuleCondition {
        let owned = |all: &[&str]| all.iter().map(|v| (*v).to_owned()).collect();
        let mut condition = RuleCondition::builder().field("path-pattern");
        if !plain.is_empty() {
            condition = condition.set_values(Some(owned(plain)));
        }
        if !typed.is_empty() {
            let typed = PathPatternConditionConfig::builder().set_values(Some(owned(typed)));
            condition = condition.path_pattern_config(typed.build());
        }
        condition.build()
    }

    fn header(name: &str, value: &str) -> RuleCondition {
        of(&TestTraffic::Header {
            name: name.to_owned(),
            values: vec![value.to_owned()],
        })
    }

    #[test]
    fn conditions_are_the_same_in_each_form_and_order_in_which_aws_may_answer() {
        let plain = [path(&["/a", "/b"], &[]), header("X-Test", "1")];
        let both = [header("x-test", "1"), path(&["/b", "/a"], &["/a", "/b"])];
        assert!(same(&plain, &both));
        assert_eq!((comparisons(&plain), comparisons(&both)), (3, 3));
        for other in [
            [path(&["/a"], &[]), header("X-Test", "1")],
            [path(&["/a", "/b"], &[]), header("X-Test", "2")],
            [path(&["/a", "/b"], &[]), header("X-Tes", "1")],
        ] {
            assert!(!same(&plain, &other), "{other:?}");
        }
        assert!(!same(&plain, &plain[..1]));
    }

    #[test]
    fn a_kept_condition_has_one_form_and_says_what_it_said() {
        for (condition, plain_stays) in [
            (path(&["/a"], &[]), true),
            (path(&["/a"], &["/a"]), false),
            (path(&[], &["/a", "/b"]), false),
        ] {
            let kept = kept(std::slice::from_ref(&condition));
            assert_eq!(kept[0].values.is_some(), plain_stays, "{condition:?}");
            assert_eq!(kept[0].path_pattern_config.is_some(), !plain_stays);
            assert!(same(&kept, &[condition]));
        }
    }
}
