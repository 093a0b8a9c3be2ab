//! A load balancer's target group.

use aws_sdk_elasticloadbalancingv2::types::TargetHealthStateEnum;
use engine::{Class, PortError};
use release::check::{Probed, TargetGroupProbe};

use crate::Aws;
use crate::error::failed;

pub(super) async fn probe(aws: &Aws, probe: &TargetGroupProbe) -> Result<Probed, PortError> {
    let call = aws.elb.describe_target_health();
    let answer = call.target_group_arn(&probe.arn).send().await;
    let answer = answer.map_err(|e| {
        let mut error = failed(format!("read the hosts of {}", probe.arn), e);
        if error.said("TargetGroupNotFound") {
            error.class = Class::Misconfigured;
        }
        error
    })?;
    let hosts = answer.target_health_descriptions().iter();
    let states = hosts.filter_map(|host| host.target_health()?.state());
    // Those on their way out serve nobody new, and are missed by nobody.
    let staying = states.filter(|state| {
        let draining = [
            TargetHealthStateEnum::Draining,
            TargetHealthStateEnum::UnhealthyDraining,
        ];
        !draining.contains(state)
    });
    let (mut healthy, mut all) = (0_u32, 0_u32);
    for state in staying {
        all = all.saturating_add(1);
        if *state == TargetHealthStateEnum::Healthy {
            healthy = healthy.saturating_add(1);
        }
    }
    Ok(probe.judge(healthy, all))
}
