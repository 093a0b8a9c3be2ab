//! Refusals in the words of the ECS API.

/// An error answer: the exception's name in AWS's model, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub(super) struct EcsError {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl EcsError {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// What the caller may not do, or not with this resource.
    pub(super) fn client(message: impl Into<String>) -> Self {
        Self::new("ClientException", message)
    }

    pub(super) fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    pub(super) fn cluster_not_found() -> Self {
        Self::new("ClusterNotFoundException", "Cluster not found.")
    }

    pub(super) fn service_not_found() -> Self {
        Self::new("ServiceNotFoundException", "Service not found.")
    }

    pub(super) fn service_not_active() -> Self {
        Self::new("ServiceNotActiveException", "Service was not ACTIVE.")
    }

    pub(super) fn service_deployment_not_found() -> Self {
        Self::new(
            "ServiceDeploymentNotFoundException",
            "The service deployment can't be found.",
        )
    }

    /// What the resource is not in the state for.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new("ConflictException", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("UnsupportedFeatureException", message)
    }

    pub(super) fn task_set_not_found() -> Self {
        Self::new(
            "TaskSetNotFoundException",
            "The specified task set does not exist.",
        )
    }

    pub(super) fn limit(what: &str, max: usize) -> Self {
        Self::new(
            "LimitExceededException",
            format!("a laptop has at most {max} {what}"),
        )
    }

    pub(super) fn unknown_operation(operation: &str) -> Self {
        Self::new(
            "UnknownOperationException",
            format!("{operation} is not served on a laptop"),
        )
    }
}
