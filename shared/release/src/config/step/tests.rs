use serde_json::json;

use super::*;
use crate::config::Config;

fn percent(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

/// A release with these keys besides its target.
fn release(keys: serde_json::Value) -> Result<Vec<Step>, String> {
    let group = |name: &str| {
        format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/1")
    };
    let mut section = json!({"target": {"alb-rule": {
        "rule": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/a/1/2/3",
        "target-groups": [group("blue"), group("green")],
    }}});
    let keys = keys.as_object().unwrap().clone();
    section.as_object_mut().unwrap().extend(keys);
    // JSON is YAML.
    let text = json!({"version": 1, "releases": {"web": section}}).to_string();
    let config = Config::parse(&text).map_err(|e| e.message)?;
    let (_, plan) = config.release(None).map_err(|e| e.message)?;
    assert_eq!(plan.watch, None, "a watch becomes steps");
    let stored = serde_json::to_string(plan).unwrap();
    let again: crate::config::Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!(again, *plan, "a plan survives the log");
    Ok(plan.steps.clone())
}

fn weights(steps: &[Step]) -> Vec<Weight> {
    let weights = steps.iter().filter_map(|step| match step {
        Step::SetWeight(weight) => Some(*weight),
        _ => None,
    });
    weights.collect()
}

#[test]
fn usual_steps_have_names() {
    let canary = release(json!({"steps": "canary"})).unwrap();
    let five_minutes = Step::Wait(SignedDuration::from_mins(5));
    let (ten, all) = (Step::SetWeight(percent(10)), Step::SetWeight(Weight::FULL));
    assert_eq!(canary, [ten, five_minutes, all]);
    let linear = weights(&release(json!({"steps": "linear"})).unwrap());
    let tens: Vec<_> = (1..=10).map(|n| percent(n * 10)).collect();
    assert_eq!(linear, tens);
    let ladder = release(json!({"steps": "ladder"})).unwrap();
    assert_eq!(weights(&ladder), [1, 5, 25, 50, 100].map(percent));
    assert_eq!(ladder[1], Step::Judge { windows: 5 });
    let unknown = release(json!({"steps": "blue-green"})).unwrap_err();
    assert!(unknown.contains("canary, linear, ladder"), "{unknown}");
}

#[test]
fn everything_at_once_is_for_a_hotfix_that_says_why() {
    for steps in [json!("all-at-once"), json!([{"set-weight": "100%"}])] {
        let refused = release(json!({"steps": steps})).unwrap_err();
        assert!(refused.contains("say why under `hotfix`"), "{refused}");
        let steps = release(json!({"steps": steps, "hotfix": "SHOP-12"})).unwrap();
        assert_eq!(steps, [Step::SetWeight(Weight::FULL)]);
    }
    let empty = release(json!({"steps": "canary", "hotfix": " "})).unwrap_err();
    assert!(empty.contains("`hotfix` has no reason"), "{empty}");
    let long = release(json!({"steps": "canary", "hotfix": "x".repeat(301)})).unwrap_err();
    assert!(long.contains("more than 300 characters"), "{long}");
}

#[test]
fn a_hotfix_keeps_of_its_steps_only_what_watches_it() {
    let text = |keys: &str| {
        format!(
            "version: 1\nreleases: {{web: {{target: {{lambda-alias: {{function: \
             'arn:aws:lambda:eu-west-1:123456789012:function:shop', alias: live}}}}, {keys}}}}}"
        )
    };
    let at_once = |keys: &str| {
        let config = Config::parse(&text(keys)).unwrap();
        let (_, plan) = config.release(None).unwrap();
        let plan = plan.clone().at_once("SHOP-12".to_owned());
        assert_eq!(plan.hotfix.as_deref(), Some("SHOP-12"));
        plan.steps
    };
    assert_eq!(at_once("steps: ladder"), [Step::SetWeight(Weight::FULL)]);
    let watch = Step::Watch(SignedDuration::from_mins(30));
    assert_eq!(
        at_once("steps: canary, watch: {for: 30m}"),
        [
            Step::SetWeight(percent(95)),
            watch.clone(),
            Step::SetWeight(Weight::FULL)
        ]
    );
    assert_eq!(
        at_once("steps: canary, watch: {for: 30m, tail: 0%}"),
        [Step::SetWeight(Weight::FULL), watch]
    );
}

#[test]
fn a_watch_leaves_the_old_version_a_tail() {
    let steps = release(json!({"steps": "canary", "watch": {"for": "1h"}})).unwrap();
    let hour = Step::Watch(SignedDuration::from_hours(1));
    let (most, all) = (Step::SetWeight(percent(95)), Step::SetWeight(Weight::FULL));
    assert_eq!(steps[2..], [most, hour.clone(), all.clone()]);
    let bare = release(json!({"steps": "canary", "watch": {"for": "1h", "tail": "0%"}}));
    assert_eq!(bare.unwrap()[2..], [all, hour]);
}

#[test]
fn every_bad_step_says_what_to_write() {
    let weight = |weight: &str| json!({"set-weight": weight});
    let judge = json!({"judge": {"windows": 3}});
    let header = json!({"header-route": {"header": {"name": "x-canary", "values": ["1"]}}});
    let http = json!({"http": {"url": "https://example.com/"}});
    let check = |function: &str| json!({"run-check": {"function": function}});
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:smoke";
    for (steps, said) in [
        (json!([judge, weight("100%")]), "judge at 0%"),
        (
            json!([weight("5%"), weight("100%"), judge]),
            "judge at 100%",
        ),
        (json!([weight("5%")]), "must be set-weight: 100%"),
        (json!([]), "must be set-weight: 100%"),
        (json!([weight("5%"), weight("5%")]), "must be larger"),
        (
            json!([weight("5%"), header, weight("100%")]),
            "before the first set-weight",
        ),
        (
            json!([header, header, weight("5%"), weight("100%")]),
            "once, and before",
        ),
        (
            json!([weight("5%"), {"watch": "25h"}, weight("100%")]),
            "`steps` has a watch",
        ),
        (
            json!([weight("5%"), {"approve": "0s"}, weight("100%")]),
            "`approve` is",
        ),
        (
            json!([weight("5%"), {"approve": {"within": "1h", "action": "a b"}}, weight("100%")]),
            "approval action",
        ),
        (
            json!([weight("5%"), {"approve": {"within": "1h", "who": "me"}}, weight("100%")]),
            "who",
        ),
        (
            json!([{"probe": {"probes": []}}, weight("5%"), weight("100%")]),
            "1 to 20 are allowed",
        ),
        (
            json!([{"probe": {"probes": [http], "in-a-row": 0}}, weight("5%"), weight("100%")]),
            "`in-a-row` 0",
        ),
        (
            json!([{"probe": {"probes": [http], "within": "0s"}}, weight("5%"), weight("100%")]),
            "`within` is",
        ),
        (
            json!([check("smoke"), weight("5%"), weight("100%")]),
            "write its ARN",
        ),
        (
            json!([{"run-check": {"function": arn, "within": "0s"}}, weight("5%"), weight("100%")]),
            "`within` is",
        ),
        (json!([{"sleep": "5m"}]), "sleep"),
        (json!(7), "a list of steps"),
    ] {
        let error = release(json!({"steps": steps})).unwrap_err();
        assert!(error.contains(said), "{steps}: {error}");
    }
    for (watch, said) in [
        (json!({"for": "0s"}), "`watch.for` is"),
        (json!({"for": "25h"}), "`watch.for` is"),
        (json!({"for": "1h", "tail": "51%"}), "at most 50%"),
        (json!({"for": "1h", "tail": "60%"}), "at most 50%"),
        (json!({"for": "1h", "until": "noon"}), "until"),
    ] {
        let error = release(json!({"steps": "canary", "watch": watch})).unwrap_err();
        assert!(error.contains(said), "{watch}: {error}");
    }
    let steps = json!([weight("99%"), weight("100%")]);
    let error = release(json!({"steps": steps, "watch": {"for": "1h"}, "hotfix": "x"}));
    assert!(error.unwrap_err().contains("a smaller tail"));
    let lambda = "version: 1\nreleases: {web: {target: {lambda-alias: {function: \
                  'arn:aws:lambda:eu-west-1:123456789012:function:shop', alias: live}}, steps: \
                  [{header-route: {query: {key: a, value: b}}}, {set-weight: 5%}, {set-weight: \
                  100%}]}}";
    let error = Config::parse(lambda).unwrap_err().message;
    assert!(error.contains("for load balancers"), "{error}");
}
