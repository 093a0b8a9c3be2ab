//! Which functions may be invoked as checks.

use wildmatch::WildMatch;

/// The functions that the stack's owner lets checks invoke: ARNs in which `*` stands for anything.
///
/// Whoever edits `penstock.yaml` must not be able to make the function's role invoke what is no
/// check.
#[derive(Debug, Clone, Default)]
pub struct AllowedChecks(Vec<String>);

impl AllowedChecks {
    /// Patterns separated by commas, as the stack's parameter has them. None match when it is empty.
    pub fn parse(text: &str) -> Self {
        let patterns = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        Self(patterns.map(str::to_owned).collect())
    }

    /// Refuses a function that no pattern matches. As in IAM, a pattern matches the whole ARN: what
    /// is invoked by an alias or a version needs a pattern that ends in `:ALIAS` or `:*`.
    pub fn permit(&self, function: &str) -> Result<(), String> {
        if self.0.iter().any(|p| WildMatch::new(p).matches(function)) {
            return Ok(());
        }
        Err(format!(
            "function {function} is not allowed: the stack's parameter AllowedChecks has '{}'; \
             deploy the stack with a pattern that matches, or correct the function in penstock.yaml",
            self.0.join(",")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_allowed_as_in_iam() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:smoke";
        let alias = format!("{function}:live");
        for (patterns, plain, qualified) in [
            (function, true, false),
            ("arn:aws:lambda:*:*:function:smoke:*", false, true),
            ("arn:x, arn:aws:lambda:*:*:function:smo*", true, true),
            (
                "arn:aws:lambda:eu-west-1:123456789012:function:smok",
                false,
                false,
            ),
            ("", false, false),
            (" , ", false, false),
        ] {
            let allowed = AllowedChecks::parse(patterns);
            assert_eq!(allowed.permit(function).is_ok(), plain, "{patterns}");
            assert_eq!(allowed.permit(&alias).is_ok(), qualified, "{patterns}");
        }
        let error = AllowedChecks::parse("a,b").permit(function).unwrap_err();
        assert!(error.contains("AllowedChecks has 'a,b'"), "{error}");
    }
}
