//! What moves requests. One file a kind of target, one line here.

mod alb;
mod ecs;
mod lambda_alias;

use std::collections::BTreeSet;

use engine::{PortError, TrafficTarget};
use release::config::{TargetSpec, TestTraffic};
use release::{Arms, Live, Weight};

use crate::Aws;

/// What is to be known before a weight is set.
#[derive(Debug)]
pub enum Reading {
    /// The actions of a load balancer's rule.
    Rule(alb::Reading),
    /// Where an alias sends its invocations.
    Alias(lambda_alias::Reading),
    /// Nothing but what the release knows: a service is told what to run.
    Service,
}

impl TrafficTarget for Aws {
    type Reading = Reading;

    async fn arms(&self, target: &TargetSpec) -> Result<Arms, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::arms(self, rule).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::arms(self, alias).await,
            TargetSpec::EcsServices(target) => ecs::services::arms(self, target).await,
            TargetSpec::EcsTaskSets(target) => ecs::task_sets::arms(self, target).await,
            TargetSpec::EcsRolling(target) => ecs::rolling::arms(self, target).await,
        }
    }

    async fn warnings(&self, target: &TargetSpec) -> Result<Vec<String>, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::warnings(self, rule).await,
            TargetSpec::EcsServices(target) => alb::warnings(self, &target.alb()).await,
            TargetSpec::EcsTaskSets(target) => alb::warnings(self, &target.alb()).await,
            TargetSpec::LambdaAlias(_) | TargetSpec::EcsRolling(_) => Ok(Vec::new()),
        }
    }

    async fn images(&self, target: &TargetSpec) -> Result<BTreeSet<String>, PortError> {
        match target {
            TargetSpec::AlbRule(_) | TargetSpec::LambdaAlias(_) => Ok(BTreeSet::new()),
            TargetSpec::EcsServices(ecs) => {
                ecs::images(self, &ecs.services[0].service, &ecs.task_definition).await
            }
            TargetSpec::EcsTaskSets(ecs) => {
                ecs::images(self, &ecs.service, &ecs.task_definition).await
            }
            TargetSpec::EcsRolling(ecs) => {
                ecs::images(self, &ecs.service, &ecs.task_definition).await
            }
        }
    }

    async fn reading(&self, target: &TargetSpec) -> Result<Reading, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::read(self, rule).await.map(Reading::Rule),
            TargetSpec::EcsServices(target) => {
                alb::read(self, &target.alb()).await.map(Reading::Rule)
            }
            TargetSpec::EcsTaskSets(target) => {
                alb::read(self, &target.alb()).await.map(Reading::Rule)
            }
            TargetSpec::LambdaAlias(alias) => {
                let reading = lambda_alias::read(self, alias).await;
                reading.map(Reading::Alias)
            }
            TargetSpec::EcsRolling(_) => Ok(Reading::Service),
        }
    }

    async fn set_weight(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        weight: Weight,
        read: Option<Reading>,
    ) -> Result<(), PortError> {
        let rule = match target {
            TargetSpec::AlbRule(rule) => rule.clone(),
            TargetSpec::EcsServices(target) => target.alb(),
            TargetSpec::EcsTaskSets(target) => target.alb(),
            TargetSpec::LambdaAlias(alias) => {
                let read = match read {
                    Some(Reading::Alias(read)) => Some(read),
                    Some(Reading::Rule(_) | Reading::Service) | None => None,
                };
                return lambda_alias::set_weight(self, alias, arms, weight, read).await;
            }
            TargetSpec::EcsRolling(target) => {
                return ecs::rolling::set_weight(self, target, arms, weight).await;
            }
        };
        let read = match read {
            Some(Reading::Rule(read)) => Some(read),
            Some(Reading::Alias(_) | Reading::Service) | None => None,
        };
        alb::set_weight(self, &rule, arms, weight, read).await
    }

    async fn route(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        test: Option<&TestTraffic>,
    ) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::route(self, rule, arms, test).await,
            TargetSpec::EcsServices(target) => alb::route(self, &target.alb(), arms, test).await,
            TargetSpec::EcsTaskSets(target) => alb::route(self, &target.alb(), arms, test).await,
            // Their configurations refuse test traffic.
            TargetSpec::LambdaAlias(_) | TargetSpec::EcsRolling(_) => Ok(()),
        }
    }

    async fn weight(&self, target: &TargetSpec, arms: &Arms) -> Result<Weight, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::weight(self, rule, arms).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::weight(self, alias, arms).await,
            TargetSpec::EcsServices(target) => alb::weight(self, &target.alb(), arms).await,
            TargetSpec::EcsTaskSets(target) => alb::weight(self, &target.alb(), arms).await,
            TargetSpec::EcsRolling(target) => ecs::rolling::weight(self, target, arms).await,
        }
    }

    async fn live(&self, target: &TargetSpec, arms: &Arms) -> Result<Live, PortError> {
        match target {
            TargetSpec::AlbRule(rule) => alb::live(self, rule, arms).await,
            TargetSpec::LambdaAlias(alias) => lambda_alias::live(self, alias, arms).await,
            TargetSpec::EcsServices(target) => ecs::services::live(self, target, arms).await,
            TargetSpec::EcsTaskSets(target) => ecs::task_sets::live(self, target, arms).await,
            TargetSpec::EcsRolling(target) => ecs::rolling::live(self, target, arms).await,
        }
    }

    async fn deploy(&self, target: &TargetSpec, arms: &Arms) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(_) | TargetSpec::LambdaAlias(_) | TargetSpec::EcsRolling(_) => {
                Ok(())
            }
            TargetSpec::EcsServices(target) => ecs::services::deploy(self, target, arms).await,
            TargetSpec::EcsTaskSets(target) => ecs::task_sets::deploy(self, target, arms).await,
        }
    }

    async fn retire(&self, target: &TargetSpec, arms: &Arms, idle: &str) -> Result<(), PortError> {
        match target {
            TargetSpec::AlbRule(_) | TargetSpec::LambdaAlias(_) | TargetSpec::EcsRolling(_) => {
                Ok(())
            }
            TargetSpec::EcsServices(target) => {
                ecs::services::retire(self, target, arms, idle).await
            }
            TargetSpec::EcsTaskSets(target) => {
                ecs::task_sets::retire(self, target, arms, idle).await
            }
        }
    }
}
