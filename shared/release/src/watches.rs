//! The names under which a release registers what concerns it. An outside event names the same
//! things in the same words, and finds by them the releases that it concerns, and no others.

use std::collections::BTreeSet;

use crate::config::Alongside;
use crate::{ReleaseId, Started};

/// The most names of one release. They are stored in one transaction with its first facts, and
/// `DynamoDB` takes 100 writes; the rest is for the facts, the target and the release itself.
pub const NAMES_MAX: usize = 85;

/// The longest name, in bytes; an event that names something longer concerns no release. A
/// partition key of `DynamoDB` has at most 2048 bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// A CloudWatch alarm of the function's own account and region.
pub fn alarm(name: &str) -> String {
    format!("alarm:{name}")
}

/// One execution of a pipeline.
pub fn execution(pipeline: &str, execution: &str) -> String {
    format!("execution:{pipeline}/{execution}")
}

/// An ECS service.
pub fn service(arn: &str) -> String {
    format!("service:{arn}")
}

/// A container image, by its digest (`sha256:` and 64 hexadecimal digits), in any repository.
pub fn image(digest: &str) -> String {
    format!("image:{digest}")
}

/// A deployment group of CodeDeploy.
pub fn deployment_group(arn: &str) -> String {
    format!("deployment-group:{arn}")
}

/// What a release moves, by the id of its target.
pub fn target(id: &str) -> String {
    format!("target:{id}")
}

/// The release itself.
pub fn release(id: &ReleaseId) -> String {
    format!("release:{id}")
}

impl Started {
    /// The names that it registers, each once and in order. They follow from how it began alone, so
    /// that its end takes back what its beginning gave.
    ///
    /// Of the target's ECS services only the candidate's is registered: that the stable version cannot start
    /// tasks is no reason to send it all requests.
    pub fn watches(&self) -> Vec<String> {
        let plan = &self.plan;
        let mut names = BTreeSet::from([release(&self.release), target(&plan.target.id().0)]);
        names.extend(plan.alarms.iter().map(|name| alarm(name)));
        if let (Some(pipeline), Some(id)) = (&self.pipeline, &self.execution) {
            names.insert(execution(pipeline, id));
        }
        let arn = plan.target.service(&self.arms.candidate);
        names.extend(arn.map(|arn| service(arn.as_str())));
        names.extend(plan.rollback.alongside.iter().map(|one| match one {
            Alongside::Codedeploy(group) => deployment_group(group.as_str()),
            Alongside::EcsService(arn) => service(arn.as_str()),
        }));
        names.extend(self.images.iter().map(|digest| image(digest)));
        names.into_iter().collect()
    }

    /// Refuses more names, or longer ones, than can be registered.
    ///
    /// # Errors
    /// Says what there is too much of, and what to do about it.
    pub fn check_watches(&self) -> Result<(), String> {
        let names = self.watches();
        if names.len() > NAMES_MAX {
            let (count, alarms) = (names.len(), self.plan.alarms.len());
            return Err(format!(
                "the release would listen to {count} names, at most {NAMES_MAX} are possible: \
                 {alarms} alarms, {} images and what it moves; put alarms into a composite alarm",
                self.images.len()
            ));
        }
        match names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
            Some(name) => {
                let start: String = name.chars().take(100).collect();
                Err(format!(
                    "the name '{start}..' has more than {NAME_BYTES_MAX} bytes: nothing of AWS has \
                     such a long name; correct it"
                ))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
