//! Between what the load balancer keeps and what the API says about it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::error::ApiError;
use super::health::{Matcher, Thresholds};
use super::instances::Instances;
use super::query::List;
use super::state::{GroupSettings, Kind, Listener, LoadBalancer, Rule, Target, TargetGroup};
use super::wire;

impl LoadBalancer {
    pub(super) fn to_wire(&self) -> wire::LoadBalancer {
        wire::LoadBalancer {
            load_balancer_arn: self.arn.clone(),
            dns_name: std::net::Ipv4Addr::LOCALHOST.to_string(),
            created_time: format!("{:.3}", self.created),
            load_balancer_name: self.name.clone(),
            scheme: self.scheme.clone(),
            state: wire::LoadBalancerState { code: "active" },
            kind: "application",
            ip_address_type: "ipv4",
        }
    }
}

impl Listener {
    pub(super) fn to_wire(&self) -> wire::Listener {
        wire::Listener {
            listener_arn: self.arn.clone(),
            load_balancer_arn: self.load_balancer_arn.clone(),
            port: self.port,
            protocol: "HTTP",
            default_actions: self.default.to_actions(),
        }
    }

    /// The rules by priority, and the default rule last.
    pub(super) fn rules_to_wire(&self) -> impl Iterator<Item = wire::Rule> {
        let default = wire::Rule {
            rule_arn: self.default_rule_arn.clone(),
            priority: "default".to_owned(),
            conditions: List::default(),
            actions: self.default.to_actions(),
            is_default: true,
        };
        self.rules.iter().map(Rule::to_wire).chain([default])
    }
}

impl Rule {
    pub(super) fn to_wire(&self) -> wire::Rule {
        wire::Rule {
            rule_arn: self.arn.clone(),
            priority: self.priority.to_string(),
            conditions: self.conditions.to_wire(),
            actions: self.forward.to_actions(),
            is_default: false,
        }
    }
}

impl GroupSettings {
    pub(super) fn from_wire(request: wire::CreateTargetGroup) -> Result<Self, ApiError> {
        let kind = match request.target_type.as_deref() {
            None | Some("instance") => Kind::Instance,
            Some("ip") => Kind::Ip,
            Some(other) => {
                return Err(ApiError::validation(format!(
                    "the local load balancer knows the TargetType 'ip' and 'instance' only, not '{other}'"
                )));
            }
        };
        check_only("Protocol", request.protocol, "HTTP")?;
        check_only("HealthCheckProtocol", request.health_check_protocol, "HTTP")?;
        check_only("HealthCheckPort", request.health_check_port, "traffic-port")?;
        let port = request.port.filter(|port| *port > 0);
        let path = request.health_check_path.unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || path.parse::<hyper::Uri>().is_err() {
            return Err(ApiError::validation(format!(
                "HealthCheckPath must begin with '/', not be '{path}'"
            )));
        }
        let interval = request.health_check_interval_seconds.unwrap_or(30);
        let timeout = request.health_check_timeout_seconds.unwrap_or(5);
        let healthy = request.healthy_threshold_count.unwrap_or(5);
        let unhealthy = request.unhealthy_threshold_count.unwrap_or(2);
        let matcher = request.matcher.map(|matcher| matcher.http_code);
        Ok(Self {
            kind,
            port: port.ok_or_else(|| ApiError::validation("Port must be from 1 to 65535"))?,
            health_check_path: path,
            health_check_interval_seconds: within("HealthCheckIntervalSeconds", interval, 5..=300)?,
            health_check_timeout_seconds: within("HealthCheckTimeoutSeconds", timeout, 2..=120)?,
            thresholds: Thresholds {
                healthy: within("HealthyThresholdCount", healthy, 2..=10)?,
                unhealthy: within("UnhealthyThresholdCount", unhealthy, 2..=10)?,
            },
            matcher: Matcher::parse(matcher.as_deref().unwrap_or("200"))?,
        })
    }
}

/// Refuses a value that AWS knows and the local load balancer does not.
fn check_only(what: &str, given: Option<String>, known: &str) -> Result<(), ApiError> {
    match given {
        Some(given) if given != known => Err(ApiError::validation(format!(
            "the local load balancer knows {what} '{known}' only, not '{given}'"
        ))),
        _ => Ok(()),
    }
}

fn within(what: &str, value: u16, range: RangeInclusive<u16>) -> Result<u16, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = (range.start(), range.end());
    Err(ApiError::validation(format!(
        "{what} must be from {from} to {to}, not {value}"
    )))
}

impl TargetGroup {
    /// `load_balancer_arn` is that of the load balancer whose rules name the group.
    pub(super) fn to_wire(&self, load_balancer_arn: Option<&str>) -> wire::TargetGroup {
        let settings = &self.settings;
        wire::TargetGroup {
            target_group_arn: self.arn.clone(),
            target_group_name: self.name.clone(),
            protocol: "HTTP",
            protocol_version: "HTTP1",
            port: settings.port,
            health_check_protocol: "HTTP",
            health_check_port: "traffic-port",
            health_check_enabled: true,
            health_check_path: settings.health_check_path.clone(),
            health_check_interval_seconds: settings.health_check_interval_seconds,
            health_check_timeout_seconds: settings.health_check_timeout_seconds,
            healthy_threshold_count: settings.thresholds.healthy,
            unhealthy_threshold_count: settings.thresholds.unhealthy,
            matcher: settings.matcher.to_wire(),
            load_balancer_arns: load_balancer_arn.map(str::to_owned).into_iter().collect(),
            target_type: match settings.kind {
                Kind::Ip => "ip",
                Kind::Instance => "instance",
            }
            .to_owned(),
            ip_address_type: "ipv4",
        }
    }

    /// The addresses that targets name. Only loopback: what runs on a laptop stays on the laptop.
    pub(super) fn addresses(
        &self,
        targets: &List<wire::Target>,
        instances: &Instances,
    ) -> Result<Vec<(String, SocketAddr)>, ApiError> {
        if targets.member.is_empty() {
            return Err(ApiError::validation("at least one target must be given"));
        }
        targets
            .member
            .iter()
            .map(|target| {
                let ip = match self.settings.kind {
                    Kind::Ip => loopback(&target.id)?,
                    Kind::Instance => instances.address(&target.id)?,
                };
                let port = target.port.unwrap_or(self.settings.port);
                if port == 0 {
                    return Err(ApiError::validation(
                        "the port of a target must be from 1 to 65535",
                    ));
                }
                Ok((target.id.clone(), SocketAddr::new(ip, port)))
            })
            .collect()
    }
}

fn loopback(id: &str) -> Result<IpAddr, ApiError> {
    let ip = id.parse::<IpAddr>().ok().filter(IpAddr::is_loopback);
    ip.ok_or_else(|| {
        ApiError::invalid_target(format!(
            "the local load balancer forwards to loopback addresses like 127.0.0.1 only, not to '{id}'"
        ))
    })
}

impl Target {
    pub(super) fn describe(&self, used: bool) -> wire::TargetHealthDescription {
        let target_health = if used {
            self.health.to_wire()
        } else {
            unused(
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            )
        };
        wire::TargetHealthDescription {
            target: wire::Target {
                id: self.id.clone(),
                port: Some(self.address.port()),
            },
            health_check_port: Some(self.address.port().to_string()),
            target_health,
        }
    }
}

/// The health of a target that is not in the group.
pub(super) fn not_registered(id: String, address: SocketAddr) -> wire::TargetHealthDescription {
    wire::TargetHealthDescription {
        target: wire::Target {
            id,
            port: Some(address.port()),
        },
        health_check_port: None,
        target_health: unused(
            "Target.NotRegistered",
            "Target is not registered to the target group",
        ),
    }
}

fn unused(reason: &'static str, description: &str) -> wire::TargetHealth {
    wire::TargetHealth {
        state: "unused",
        reason: Some(reason),
        description: Some(description.to_owned()),
    }
}
