//! ARNs of the real form, and the names that metrics use: the tails of the ARNs.

/// The account and region that all resources belong to.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) region: String,
    pub(super) account: String,
}

impl Home {
    pub(super) fn load_balancer(&self, name: &str, id: &str) -> String {
        self.arn(&format!("loadbalancer/app/{name}/{id}"))
    }

    pub(super) fn target_group(&self, name: &str, id: &str) -> String {
        self.arn(&format!("targetgroup/{name}/{id}"))
    }

    /// The listener of the load balancer whose dimension is `app/<name>/<id>`.
    pub(super) fn listener(&self, load_balancer: &str, id: &str) -> String {
        self.arn(&format!("listener/{load_balancer}/{id}"))
    }

    /// A rule of the listener `arn:..:listener/<path>`.
    pub(super) fn rule(&self, listener_arn: &str, id: &str) -> String {
        let listener = listener_arn
            .rsplit_once(":listener/")
            .map_or(listener_arn, |(_, path)| path);
        self.arn(&format!("listener-rule/{listener}/{id}"))
    }

    fn arn(&self, resource: &str) -> String {
        format!(
            "arn:aws:elasticloadbalancing:{}:{}:{resource}",
            self.region, self.account
        )
    }
}

/// `app/<name>/<id>`: a load balancer as a metric's dimension.
pub(super) fn load_balancer_dimension(arn: &str) -> &str {
    arn.rsplit_once(":loadbalancer/")
        .map_or(arn, |(_, tail)| tail)
}

/// `targetgroup/<name>/<id>`: a target group as a metric's dimension.
pub(super) fn target_group_dimension(arn: &str) -> &str {
    arn.rsplit_once(':').map_or(arn, |(_, tail)| tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_and_dimensions_have_the_form_of_aws() {
        let home = Home {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
        };
        let prefix = "arn:aws:elasticloadbalancing:us-east-1:000000000000";
        let balancer = home.load_balancer("shop", "b1");
        assert_eq!(balancer, format!("{prefix}:loadbalancer/app/shop/b1"));
        assert_eq!(load_balancer_dimension(&balancer), "app/shop/b1");
        let listener = home.listener(load_balancer_dimension(&balancer), "l1");
        assert_eq!(listener, format!("{prefix}:listener/app/shop/b1/l1"));
        assert_eq!(
            home.rule(&listener, "r1"),
            format!("{prefix}:listener-rule/app/shop/b1/l1/r1")
        );
        assert_eq!(
            target_group_dimension(&home.target_group("blue", "t1")),
            "targetgroup/blue/t1"
        );
    }
}
