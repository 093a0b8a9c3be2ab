//! Refusals in the words of the ELBv2 API.

/// An error answer: a code that SDKs map to their error types, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct ApiError {
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new("MalformedQueryString", message)
    }

    pub(super) fn missing_action() -> Self {
        Self::new("MissingAction", "the request has no Action")
    }

    pub(super) fn invalid_action(action: &str) -> Self {
        Self::new(
            "InvalidAction",
            format!("the local load balancer has no action '{action}'"),
        )
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new("InternalFailure", message)
    }

    pub(super) fn load_balancer_not_found() -> Self {
        Self::new(
            "LoadBalancerNotFound",
            "One or more load balancers not found",
        )
    }

    pub(super) fn listener_not_found() -> Self {
        Self::new("ListenerNotFound", "One or more listeners not found")
    }

    pub(super) fn rule_not_found() -> Self {
        Self::new("RuleNotFound", "One or more rules not found")
    }

    pub(super) fn target_group_not_found() -> Self {
        Self::new("TargetGroupNotFound", "One or more target groups not found")
    }

    pub(super) fn duplicate_load_balancer(name: &str) -> Self {
        Self::new(
            "DuplicateLoadBalancerName",
            format!(
                "A load balancer with the same name '{name}' exists, but with different settings"
            ),
        )
    }

    pub(super) fn duplicate_target_group(name: &str) -> Self {
        Self::new(
            "DuplicateTargetGroupName",
            format!(
                "A target group with the same name '{name}' exists, but with different settings"
            ),
        )
    }

    pub(super) fn duplicate_listener(port: u16) -> Self {
        Self::new(
            "DuplicateListener",
            format!("A listener already exists on port {port} of this load balancer"),
        )
    }

    pub(super) fn priority_in_use(priority: u32) -> Self {
        Self::new(
            "PriorityInUse",
            format!("Priority '{priority}' is currently in use"),
        )
    }

    pub(super) fn group_of_another_load_balancer(arn: &str) -> Self {
        Self::new(
            "TargetGroupAssociationLimit",
            format!(
                "The target group '{arn}' cannot be associated with more than one load balancer"
            ),
        )
    }

    pub(super) fn invalid_target(message: impl Into<String>) -> Self {
        Self::new("InvalidTarget", message)
    }

    pub(super) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new("OperationNotPermitted", message)
    }

    /// The limit of `what` is reached; ELBv2 has one code for each kind of resource.
    pub(super) fn too_many(code: &'static str, max: usize) -> Self {
        Self::new(
            code,
            format!("The local load balancer holds at most {max} of these"),
        )
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whose fault it is: `Receiver` for the server's, `Sender` for the caller's.
    pub(super) fn fault(&self) -> &'static str {
        if self.status() >= 500 {
            "Receiver"
        } else {
            "Sender"
        }
    }

    /// The HTTP status: ELBv2 answers every refusal with 400.
    pub(super) fn status(&self) -> u16 {
        if self.code == "InternalFailure" {
            500
        } else {
            400
        }
    }
}
