//! The operations of the ELBv2 API on the [`State`], one function each.

use jiff::Timestamp;

use super::arn;
use super::conditions::Conditions;
use super::described::not_registered;
use super::error::ApiError;
use super::health::Health;
use super::query::List;
use super::rules::Forward;
use super::state::{GroupSettings, Listener, LoadBalancer, Rule, State, Target, TargetGroup};
use super::wire;

const LOAD_BALANCERS_MAX: usize = 300;
const LISTENERS_MAX: usize = 300;
const RULES_PER_LISTENER_MAX: usize = 100;
const TARGET_GROUPS_MAX: usize = 600;
const TARGETS_PER_GROUP_MAX: usize = 100;

/// Longest name of a load balancer or target group.
const NAME_CHARS_MAX: usize = 32;

/// Largest priority of a rule.
const PRIORITY_MAX: u32 = 50_000;

/// Most resources whose tags are described at once.
const TAGGED_MAX: usize = 20;

/// Most tags of one resource, and the longest key and value of one in characters.
const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// Largest page of a list, and the size of a page when none is asked for.
const PAGE_SIZE_MAX: usize = 400;

impl State {
    /// Idempotent: the same name with the same settings returns what exists.
    pub(super) fn create_load_balancer(
        &mut self,
        request: wire::CreateLoadBalancer,
        now: Timestamp,
    ) -> Result<wire::LoadBalancers, ApiError> {
        check_name(&request.name)?;
        if request.kind.as_deref().unwrap_or("application") != "application" {
            return Err(ApiError::validation(
                "the local load balancer is of type 'application' only",
            ));
        }
        let scheme = request
            .scheme
            .unwrap_or_else(|| "internet-facing".to_owned());
        if let Some(existing) = self
            .load_balancers
            .iter()
            .find(|existing| existing.name == request.name)
        {
            if existing.scheme != scheme {
                return Err(ApiError::duplicate_load_balancer(&request.name));
            }
            return Ok(wire::LoadBalancers {
                load_balancers: [existing.to_wire()].into_iter().collect(),
                next_marker: None,
            });
        }
        check_room(
            &self.load_balancers,
            LOAD_BALANCERS_MAX,
            "TooManyLoadBalancers",
        )?;
        let id = self.fresh_id();
        let arn = self.home.load_balancer(&request.name, &id);
        let created = LoadBalancer {
            arn,
            name: request.name,
            scheme,
            created: now,
        };
        let answer = created.to_wire();
        self.load_balancers.push(created);
        Ok(wire::LoadBalancers {
            load_balancers: [answer].into_iter().collect(),
            next_marker: None,
        })
    }

    pub(super) fn describe_load_balancers(
        &self,
        request: wire::DescribeLoadBalancers,
    ) -> Result<wire::LoadBalancers, ApiError> {
        let not_found = ApiError::load_balancer_not_found;
        check_all_exist(
            &request.load_balancer_arns,
            self.load_balancers.iter().map(|it| &it.arn),
            not_found,
        )?;
        check_all_exist(
            &request.names,
            self.load_balancers.iter().map(|it| &it.name),
            not_found,
        )?;
        let found = self
            .load_balancers
            .iter()
            .filter(|it| {
                selected(&request.load_balancer_arns, &it.arn) && selected(&request.names, &it.name)
            })
            .map(LoadBalancer::to_wire);
        let (load_balancers, next_marker) = page(found.collect(), &request.page)?;
        Ok(wire::LoadBalancers {
            load_balancers,
            next_marker,
        })
    }

    /// Idempotent: the same name with the same settings returns what exists.
    pub(super) fn create_target_group(
        &mut self,
        request: wire::CreateTargetGroup,
    ) -> Result<wire::TargetGroups, ApiError> {
        check_name(&request.name)?;
        let name = request.name.clone();
        let settings = GroupSettings::from_wire(request)?;
        if let Some(existing) = self.target_groups.iter().find(|group| group.name == name) {
            if existing.settings != settings {
                return Err(ApiError::duplicate_target_group(&name));
            }
            return Ok(one_target_group(
                existing.to_wire(self.load_balancer_of_group(&existing.arn)),
            ));
        }
        check_room(
            &self.target_groups,
            TARGET_GROUPS_MAX,
            "TooManyTargetGroups",
        )?;
        let id = self.fresh_id();
        let arn = self.home.target_group(&name, &id);
        let created = TargetGroup {
            arn,
            name,
            settings,
            targets: Vec::new(),
            turn: 0,
        };
        let answer = created.to_wire(None);
        self.target_groups.push(created);
        Ok(one_target_group(answer))
    }

    pub(super) fn describe_target_groups(
        &self,
        request: wire::DescribeTargetGroups,
    ) -> Result<wire::TargetGroups, ApiError> {
        let not_found = ApiError::target_group_not_found;
        check_all_exist(
            &request.target_group_arns,
            self.target_groups.iter().map(|it| &it.arn),
            not_found,
        )?;
        check_all_exist(
            &request.names,
            self.target_groups.iter().map(|it| &it.name),
            not_found,
        )?;
        if let Some(arn) = &request.load_balancer_arn {
            self.load_balancer(arn)?;
        }
        let serves = |group: &TargetGroup| match &request.load_balancer_arn {
            Some(arn) => self.load_balancer_of_group(&group.arn) == Some(arn),
            None => true,
        };
        let found = self
            .target_groups
            .iter()
            .filter(|it| {
                selected(&request.target_group_arns, &it.arn) && selected(&request.names, &it.name)
            })
            .filter(|group| serves(group))
            .map(|group| group.to_wire(self.load_balancer_of_group(&group.arn)));
        let (target_groups, next_marker) = page(found.collect(), &request.page)?;
        Ok(wire::TargetGroups {
            target_groups,
            next_marker,
        })
    }

    /// Creates a listener once `open` could open its port; the port's proxy is the caller's business.
    pub(super) fn create_listener<P>(
        &mut self,
        request: wire::CreateListener,
        open: impl FnOnce(u16) -> Result<P, ApiError>,
    ) -> Result<(Listener, P), ApiError> {
        let load_balancer_arn = self.load_balancer(&request.load_balancer_arn)?.arn.clone();
        if request.protocol.as_deref() != Some("HTTP") {
            return Err(ApiError::validation(
                "the local load balancer listens by protocol HTTP only",
            ));
        }
        let port = request.port.filter(|port| *port > 0);
        let port = port.ok_or_else(|| ApiError::validation("Port must be from 1 to 65535"))?;
        let default = Forward::from_actions(request.default_actions)?;
        self.check_groups(&default, &load_balancer_arn)?;
        check_room(&self.listeners, LISTENERS_MAX, "TooManyListeners")?;
        if self
            .listeners
            .iter()
            .any(|it| it.port == port && it.load_balancer_arn == load_balancer_arn)
        {
            return Err(ApiError::duplicate_listener(port));
        }
        let opened = open(port)?;
        let (id, rule_id) = (self.fresh_id(), self.fresh_id());
        let arn = self
            .home
            .listener(arn::load_balancer_dimension(&load_balancer_arn), &id);
        let default_rule_arn = self.home.rule(&arn, &rule_id);
        let created = Listener {
            arn,
            load_balancer_arn,
            port,
            rules: Vec::new(),
            default_rule_arn,
            default,
        };
        self.listeners.push(created.clone());
        Ok((created, opened))
    }

    pub(super) fn describe_listeners(
        &self,
        request: wire::DescribeListeners,
    ) -> Result<wire::Listeners, ApiError> {
        if request.load_balancer_arn.is_none() && request.listener_arns.member.is_empty() {
            return Err(ApiError::validation(
                "either LoadBalancerArn or ListenerArns must be given",
            ));
        }
        check_all_exist(
            &request.listener_arns,
            self.listeners.iter().map(|it| &it.arn),
            ApiError::listener_not_found,
        )?;
        if let Some(arn) = &request.load_balancer_arn {
            self.load_balancer(arn)?;
        }
        let balancer = request.load_balancer_arn.as_ref();
        let found = self
            .listeners
            .iter()
            .filter(|it| selected(&request.listener_arns, &it.arn))
            .filter(|it| balancer.is_none_or(|arn| *arn == it.load_balancer_arn))
            .map(Listener::to_wire);
        let (listeners, next_marker) = page(found.collect(), &request.page)?;
        Ok(wire::Listeners {
            listeners,
            next_marker,
        })
    }

    /// Replaces the whole default action list. A listener's port stays what it is.
    pub(super) fn modify_listener(
        &mut self,
        request: wire::ModifyListener,
    ) -> Result<wire::Listeners, ApiError> {
        let listener = self.listener(&request.listener_arn)?;
        if request.port.is_some_and(|port| port != listener.port)
            || request.protocol.is_some_and(|protocol| protocol != "HTTP")
        {
            return Err(ApiError::not_permitted(
                "a local listener's port and protocol cannot be changed",
            ));
        }
        let load_balancer_arn = listener.load_balancer_arn.clone();
        let default = request
            .default_actions
            .map(Forward::from_actions)
            .transpose()?;
        if let Some(default) = &default {
            self.check_groups(default, &load_balancer_arn)?;
        }
        let listener = self.listener_mut(&request.listener_arn)?;
        if let Some(default) = default {
            listener.default = default;
        }
        Ok(one_listener(listener))
    }

    pub(super) fn create_rule(
        &mut self,
        request: wire::CreateRule,
    ) -> Result<wire::Rules, ApiError> {
        let listener = self.listener(&request.listener_arn)?;
        let priority = request
            .priority
            .filter(|priority| (1..=PRIORITY_MAX).contains(priority));
        let priority = priority.ok_or_else(|| {
            ApiError::validation(format!("Priority must be from 1 to {PRIORITY_MAX}"))
        })?;
        if listener.rules.iter().any(|rule| rule.priority == priority) {
            return Err(ApiError::priority_in_use(priority));
        }
        check_room(&listener.rules, RULES_PER_LISTENER_MAX, "TooManyRules")?;
        let conditions = Conditions::from_wire(request.conditions)?;
        check_tags(&request.tags)?;
        let forward = Forward::from_actions(request.actions)?;
        self.check_groups(&forward, &listener.load_balancer_arn)?;
        let id = self.fresh_id();
        let arn = self.home.rule(&request.listener_arn, &id);
        let created = Rule {
            arn,
            priority,
            conditions,
            forward,
            tags: request.tags.member,
        };
        let answer = one_rule(created.to_wire());
        let listener = self.listener_mut(&request.listener_arn)?;
        let place = listener
            .rules
            .partition_point(|rule| rule.priority < priority);
        listener.rules.insert(place, created);
        Ok(answer)
    }

    pub(super) fn describe_rules(
        &self,
        request: wire::DescribeRules,
    ) -> Result<wire::Rules, ApiError> {
        let rules: Vec<wire::Rule> =
            match (&request.listener_arn, request.rule_arns.member.as_slice()) {
                (Some(arn), []) => self.listener(arn)?.rules_to_wire().collect(),
                (None, [_, ..]) => {
                    let all: Vec<_> = self
                        .listeners
                        .iter()
                        .flat_map(Listener::rules_to_wire)
                        .collect();
                    let arns = all.iter().map(|rule| &rule.rule_arn);
                    check_all_exist(&request.rule_arns, arns, ApiError::rule_not_found)?;
                    all.into_iter()
                        .filter(|rule| selected(&request.rule_arns, &rule.rule_arn))
                        .collect()
                }
                _ => {
                    return Err(ApiError::validation(
                        "either ListenerArn or RuleArns must be given, and not both",
                    ));
                }
            };
        let (rules, next_marker) = page(rules, &request.page)?;
        Ok(wire::Rules { rules, next_marker })
    }

    /// Replaces the whole condition list, the whole action list, or both.
    pub(super) fn modify_rule(
        &mut self,
        request: wire::ModifyRule,
    ) -> Result<wire::Rules, ApiError> {
        if request.conditions.is_none() && request.actions.is_none() {
            return Err(ApiError::validation(
                "either Conditions or Actions must be given",
            ));
        }
        self.check_no_default(&request.rule_arn)?;
        let named = |rule: &Rule| rule.arn == request.rule_arn;
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.rules.iter().any(named));
        let load_balancer_arn = &listener
            .ok_or_else(ApiError::rule_not_found)?
            .load_balancer_arn;
        let conditions = request.conditions.map(Conditions::from_wire).transpose()?;
        let forward = request.actions.map(Forward::from_actions).transpose()?;
        if let Some(forward) = &forward {
            self.check_groups(forward, load_balancer_arn)?;
        }
        let mut rules = self
            .listeners
            .iter_mut()
            .flat_map(|listener| &mut listener.rules);
        let rule = rules
            .find(|rule| rule.arn == request.rule_arn)
            .ok_or_else(ApiError::rule_not_found)?;
        if let Some(conditions) = conditions {
            rule.conditions = conditions;
        }
        if let Some(forward) = forward {
            rule.forward = forward;
        }
        Ok(one_rule(rule.to_wire()))
    }

    /// Requests that the rule took go by the others from now on.
    pub(super) fn delete_rule(
        &mut self,
        request: wire::DeleteRule,
    ) -> Result<wire::Nothing, ApiError> {
        self.check_no_default(&request.rule_arn)?;
        let mut listeners = self.listeners.iter_mut();
        let found = listeners.find_map(|listener| {
            let place = listener
                .rules
                .iter()
                .position(|rule| rule.arn == request.rule_arn);
            place.map(|place| listener.rules.remove(place))
        });
        found
            .map(|_| wire::Nothing {})
            .ok_or_else(ApiError::rule_not_found)
    }

    fn check_no_default(&self, rule_arn: &str) -> Result<(), ApiError> {
        let mut listeners = self.listeners.iter();
        match listeners.any(|listener| listener.default_rule_arn == rule_arn) {
            true => Err(ApiError::not_permitted(format!(
                "Default rule '{rule_arn}' cannot be modified or deleted; use ModifyListener"
            ))),
            false => Ok(()),
        }
    }

    /// Only rules have tags here.
    pub(super) fn describe_tags(
        &self,
        request: wire::DescribeTags,
    ) -> Result<wire::TagDescriptions, ApiError> {
        let asked = request.resource_arns.member;
        if !(1..=TAGGED_MAX).contains(&asked.len()) {
            return Err(ApiError::validation(format!(
                "from 1 to {TAGGED_MAX} resources must be given"
            )));
        }
        let described = asked.into_iter().map(|resource_arn| {
            let mut rules = self.listeners.iter().flat_map(|listener| &listener.rules);
            let rule = rules.find(|rule| rule.arn == resource_arn);
            let tags = rule.ok_or_else(ApiError::rule_not_found)?.tags.iter();
            Ok(wire::TagDescription {
                resource_arn,
                tags: tags.cloned().collect(),
            })
        });
        Ok(wire::TagDescriptions {
            tag_descriptions: described.collect::<Result<_, _>>()?,
        })
    }

    /// Registering what is registered changes nothing.
    pub(super) fn register_targets(
        &mut self,
        request: wire::ChangeTargets,
    ) -> Result<wire::Nothing, ApiError> {
        let instances = self.instances.clone();
        let group = self.target_group_mut(&request.target_group_arn)?;
        let mut targets = group.addresses(&request.targets, &instances)?;
        targets.retain(|(_, address)| {
            !group
                .targets
                .iter()
                .any(|target| target.address == *address)
        });
        if group.targets.len() + targets.len() > TARGETS_PER_GROUP_MAX {
            return Err(ApiError::too_many("TooManyTargets", TARGETS_PER_GROUP_MAX));
        }
        group
            .targets
            .extend(targets.into_iter().map(|(id, address)| Target {
                id,
                address,
                health: Health::new(),
            }));
        Ok(wire::Nothing {})
    }

    /// Takes effect at once: requests under way end undisturbed, and no new ones are sent.
    pub(super) fn deregister_targets(
        &mut self,
        request: wire::ChangeTargets,
    ) -> Result<wire::Nothing, ApiError> {
        let instances = self.instances.clone();
        let group = self.target_group_mut(&request.target_group_arn)?;
        let gone = group.addresses(&request.targets, &instances)?;
        group
            .targets
            .retain(|target| !gone.iter().any(|(_, address)| *address == target.address));
        Ok(wire::Nothing {})
    }

    pub(super) fn describe_target_health(
        &mut self,
        request: wire::DescribeTargetHealth,
    ) -> Result<wire::TargetHealthDescriptions, ApiError> {
        let used = self
            .load_balancer_of_group(&request.target_group_arn)
            .is_some();
        let instances = self.instances.clone();
        let group = self.target_group_mut(&request.target_group_arn)?;
        if request.targets.member.is_empty() {
            let descriptions = group.targets.iter().map(|target| target.describe(used));
            return Ok(wire::TargetHealthDescriptions {
                target_health_descriptions: descriptions.collect(),
            });
        }
        let asked = group
            .addresses(&request.targets, &instances)?
            .into_iter()
            .map(|(id, address)| {
                let target = group
                    .targets
                    .iter()
                    .find(|target| target.address == address);
                target.map_or_else(
                    || not_registered(id, address),
                    |target| target.describe(used),
                )
            });
        Ok(wire::TargetHealthDescriptions {
            target_health_descriptions: asked.collect(),
        })
    }

    fn load_balancer(&self, arn: &str) -> Result<&LoadBalancer, ApiError> {
        self.load_balancers
            .iter()
            .find(|it| it.arn == arn)
            .ok_or_else(ApiError::load_balancer_not_found)
    }

    fn listener(&self, arn: &str) -> Result<&Listener, ApiError> {
        self.listeners
            .iter()
            .find(|it| it.arn == arn)
            .ok_or_else(ApiError::listener_not_found)
    }

    fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener, ApiError> {
        self.listeners
            .iter_mut()
            .find(|it| it.arn == arn)
            .ok_or_else(ApiError::listener_not_found)
    }

    fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, ApiError> {
        self.target_groups
            .iter_mut()
            .find(|it| it.arn == arn)
            .ok_or_else(ApiError::target_group_not_found)
    }

    /// Every group of an action exists and serves no other load balancer.
    fn check_groups(&self, forward: &Forward, load_balancer_arn: &str) -> Result<(), ApiError> {
        for share in forward.groups() {
            let arn = &share.group_arn;
            if !self.target_groups.iter().any(|group| group.arn == *arn) {
                return Err(ApiError::target_group_not_found());
            }
            if self
                .load_balancer_of_group(arn)
                .is_some_and(|other| other != load_balancer_arn)
            {
                return Err(ApiError::group_of_another_load_balancer(arn));
            }
        }
        Ok(())
    }
}

fn one_target_group(group: wire::TargetGroup) -> wire::TargetGroups {
    wire::TargetGroups {
        target_groups: [group].into_iter().collect(),
        next_marker: None,
    }
}

/// The answer that describes one listener.
pub(super) fn one_listener(listener: &Listener) -> wire::Listeners {
    wire::Listeners {
        listeners: [listener.to_wire()].into_iter().collect(),
        next_marker: None,
    }
}

fn one_rule(rule: wire::Rule) -> wire::Rules {
    wire::Rules {
        rules: [rule].into_iter().collect(),
        next_marker: None,
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty()
        || name.len() > NAME_CHARS_MAX
        || !name.chars().all(allowed)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        return Err(ApiError::validation(format!(
            "a name must be 1 to {NAME_CHARS_MAX} letters, digits or hyphens, and not begin or end with a hyphen; '{name}' is not"
        )));
    }
    Ok(())
}

fn check_tags(tags: &List<wire::Tag>) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    let bad = tags.member.iter().find(|tag| {
        tag.key.is_empty()
            || tag.key.chars().count() > TAG_KEY_CHARS_MAX
            || tag.value.chars().count() > TAG_VALUE_CHARS_MAX
            || tag.key.starts_with("aws:")
            || !tag.key.chars().chain(tag.value.chars()).all(allowed)
    });
    if let Some(tag) = bad {
        return Err(ApiError::validation(format!(
            "a tag must have a key of 1 to {TAG_KEY_CHARS_MAX} and a value of up to {TAG_VALUE_CHARS_MAX} \
             letters, digits, spaces and _.:/=+-@, not '{}' and '{}'",
            tag.key, tag.value
        )));
    }
    check_room(&tags.member, TAGS_MAX + 1, "TooManyTags")
}

fn check_room<T>(items: &[T], max: usize, code: &'static str) -> Result<(), ApiError> {
    if items.len() < max {
        Ok(())
    } else {
        Err(ApiError::too_many(code, max))
    }
}

/// Every wanted item is among those that exist.
fn check_all_exist<'a>(
    wanted: &List<String>,
    existing: impl Iterator<Item = &'a String> + Clone,
    not_found: fn() -> ApiError,
) -> Result<(), ApiError> {
    let exists = |wanted: &String| existing.clone().any(|existing| existing == wanted);
    if wanted.member.iter().all(exists) {
        Ok(())
    } else {
        Err(not_found())
    }
}

/// An empty list of wanted items selects everything.
fn selected(wanted: &List<String>, item: &String) -> bool {
    wanted.member.is_empty() || wanted.member.contains(item)
}

/// The page that begins at the marker, and the marker of the next.
fn page<T>(items: Vec<T>, page: &wire::Page) -> Result<(List<T>, Option<String>), ApiError> {
    let size = page.page_size.unwrap_or(PAGE_SIZE_MAX);
    if !(1..=PAGE_SIZE_MAX).contains(&size) {
        return Err(ApiError::validation(format!(
            "PageSize must be from 1 to {PAGE_SIZE_MAX}, not {size}"
        )));
    }
    let marker = page.marker.as_deref().unwrap_or("0");
    let start: usize = marker
        .parse()
        .map_err(|_| ApiError::validation(format!("Marker '{marker}' is not valid")))?;
    let next = start.saturating_add(size);
    let next_marker = (next < items.len()).then(|| next.to_string());
    Ok((
        items.into_iter().skip(start).take(size).collect(),
        next_marker,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: usize, size: usize) -> Vec<usize> {
        let mut marker = None;
        let mut seen = Vec::new();
        loop {
            let asked = wire::Page {
                marker,
                page_size: Some(size),
            };
            let (items, next) = page((0..count).collect(), &asked).expect("a page");
            assert!(items.member.len() <= size);
            seen.extend(items.member);
            match next {
                Some(next) => marker = Some(next),
                None => return seen,
            }
        }
    }

    #[test]
    fn following_the_markers_shows_every_item_once() {
        for (count, size) in [(0, 1), (1, 1), (5, 2), (6, 3), (400, 400), (401, 400)] {
            assert_eq!(pages(count, size), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_page_of_no_size_and_a_made_up_marker_are_refused() {
        let asked = |marker: Option<&str>, page_size| wire::Page {
            marker: marker.map(str::to_owned),
            page_size,
        };
        assert!(page(vec![1], &asked(None, Some(0))).is_err());
        assert!(page(vec![1], &asked(None, Some(PAGE_SIZE_MAX + 1))).is_err());
        assert!(page(vec![1], &asked(Some("x"), None)).is_err());
    }
}
