//! ARNs in their long form, with the cluster, and what callers may write instead of them.

use super::error::EcsError;

/// The cluster of a call that names none.
pub(super) const DEFAULT_CLUSTER: &str = "default";

/// Longest name of a cluster, a service or a family.
const NAME_CHARS_MAX: usize = 255;

/// The account and region that everything belongs to.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) region: String,
    pub(super) account: String,
}

impl Home {
    pub(super) fn cluster(&self, name: &str) -> String {
        self.arn(&format!("cluster/{name}"))
    }

    pub(super) fn service(&self, cluster: &str, name: &str) -> String {
        self.arn(&format!("service/{cluster}/{name}"))
    }

    /// `id` is the task set's short one, `ecs-svc/123`.
    pub(super) fn task_set(&self, cluster: &str, service: &str, id: &str) -> String {
        self.arn(&format!("task-set/{cluster}/{service}/{id}"))
    }

    /// `id` is the deployment's own, `ecs-svc/123`, of which the number is told.
    pub(super) fn service_deployment(&self, cluster: &str, service: &str, id: &str) -> String {
        let id = id.rsplit('/').next().unwrap_or(id);
        self.arn(&format!("service-deployment/{cluster}/{service}/{id}"))
    }

    /// Cluster and service of a service deployment's ARN.
    pub(super) fn deployed_service<'a>(&self, arn: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = arn.strip_prefix(&self.arn("service-deployment/"))?;
        let (cluster, rest) = rest.split_once('/')?;
        let (service, _id) = rest.split_once('/')?;
        Some((cluster, service))
    }

    pub(super) fn task(&self, cluster: &str, id: &str) -> String {
        self.arn(&format!("task/{cluster}/{id}"))
    }

    pub(super) fn container(&self, cluster: &str, task: &str, id: &str) -> String {
        self.arn(&format!("container/{cluster}/{task}/{id}"))
    }

    pub(super) fn task_definition(&self, family: &str, revision: u32) -> String {
        self.arn(&format!("task-definition/{family}:{revision}"))
    }

    /// The cluster's name, of a name, an ARN, or nothing. `None` for what lies elsewhere.
    pub(super) fn cluster_name<'a>(&self, given: Option<&'a str>) -> Option<&'a str> {
        let given = given.unwrap_or(DEFAULT_CLUSTER);
        self.local(given, "cluster")
            .filter(|name| !name.contains('/'))
    }

    /// The name of a service of this cluster, of a name or an ARN in its long or old short form.
    pub(super) fn service_name<'a>(&self, given: &'a str, cluster: &str) -> Option<&'a str> {
        last_of(self.local(given, "service")?, cluster)
    }

    /// The id of a task of this cluster, of an id or an ARN.
    pub(super) fn task_id<'a>(&self, given: &'a str, cluster: &str) -> Option<&'a str> {
        last_of(self.local(given, "task")?, cluster)
    }

    /// A family and, where one is named, the revision.
    pub(super) fn family_and_revision<'a>(&self, given: &'a str) -> Option<(&'a str, Option<u32>)> {
        let name = self.local(given, "task-definition")?;
        match name.split_once(':') {
            None => Some((name, None)),
            Some((family, revision)) => Some((family, Some(revision.parse().ok()?))),
        }
    }

    /// What follows `arn:..:KIND/`, and all of what is no ARN. `None` for an ARN of something else.
    fn local<'a>(&self, given: &'a str, kind: &str) -> Option<&'a str> {
        if !given.starts_with("arn:") {
            return Some(given);
        }
        given.strip_prefix(&self.arn(&format!("{kind}/")))
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account)
    }
}

/// `NAME` of `NAME` and of `CLUSTER/NAME`.
fn last_of<'a>(path: &'a str, cluster: &str) -> Option<&'a str> {
    match path.split_once('/') {
        None => Some(path),
        Some((in_cluster, name)) => (in_cluster == cluster && !name.contains('/')).then_some(name),
    }
}

/// Letters, digits, hyphens and underscores, as in every name of ECS's.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), EcsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(EcsError::invalid(format!(
        "{what} must be 1 to {NAME_CHARS_MAX} letters, digits, hyphens or underscores"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
        }
    }

    #[test]
    fn whatever_has_an_arn_is_found_by_it_and_by_its_name() {
        let home = home();
        let cluster = home.cluster("prod");
        assert_eq!(cluster, "arn:aws:ecs:us-east-1:000000000000:cluster/prod");
        assert_eq!(home.cluster_name(Some(&cluster)), Some("prod"));
        assert_eq!(home.cluster_name(Some("prod")), Some("prod"));
        assert_eq!(home.cluster_name(None), Some("default"));
        let service = home.service("prod", "web");
        for given in ["web", &service, &home.arn("service/web")] {
            assert_eq!(home.service_name(given, "prod"), Some("web"));
        }
        assert_eq!(home.task_id(&home.task("prod", "1"), "prod"), Some("1"));
        let web_7 = home.task_definition("web", 7);
        for given in ["web:7", &web_7] {
            assert_eq!(home.family_and_revision(given), Some(("web", Some(7))));
        }
        assert_eq!(home.family_and_revision("web"), Some(("web", None)));
    }

    #[test]
    fn what_lies_elsewhere_is_not_found() {
        let home = home();
        let elsewhere = "arn:aws:ecs:eu-west-1:000000000000:cluster/prod";
        assert_eq!(home.cluster_name(Some(elsewhere)), None);
        assert_eq!(home.cluster_name(Some(&home.service("prod", "web"))), None);
        assert_eq!(home.service_name(&home.service("dev", "web"), "prod"), None);
        assert_eq!(home.family_and_revision("web:x"), None);
        assert_eq!(home.family_and_revision("web:7:8"), None);
    }
}
