//! What moves requests. One file a kind of target, one line here.

mod alb;
mod lambda_alias;

use engine::{PortError, TrafficTarget};
use release::config::{TargetSpec, TestTraffic};
use release::{Arms, Live, Weight};

use crate::Aws;

impl TrafficTarget for Aws {
    async fn arms(&self, target: &TargetSpec) -> Result<Arms, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::arms(self, rule).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::arms(self, alias).await,
        }
    }

    async fn set_weight(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        weight: Weight,
    ) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::set_weight(self, rule, arms, weight).await,
            TargetSpec::LambdaAlias(alias) => {
                lambda_alias::set_weight(self, alias, arms, weight).await
            }
        }
    }

    async fn deploy(&self, target: &TargetSpec, _arms: &Arms) -> Result<(), PortError> {
        match target {
            // Somebody else puts the candidate up.
            TargetSpec::AlbRule(_) | TargetSpec::LambdaAlias(_) => Ok(()),
        }
    }

    async fn retire(
        &self,
        target: &TargetSpec,
        _arms: &Arms,
        _idle: &str,
    ) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(_) | TargetSpec::LambdaAlias(_) => Ok(()),
        }
    }

    async fn route(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        test: Option<&TestTraffic>,
    ) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::route(self, rule, arms, test).await,
            // Its configuration refuses test traffic.
            TargetSpec::LambdaAlias(_) => Ok(()),
        }
    }

    async fn weight(&self, target: &TargetSpec, arms: &Arms) -> Result<Weight, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::weight(self, rule, arms).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::weight(self, alias, arms).await,
        }
    }

    async fn live(&self, target: &TargetSpec, arms: &Arms) -> Result<Live, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::live(self, rule, arms).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::live(self, alias, arms).await,
        }
    }
}
