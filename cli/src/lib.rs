//! The laptop's half of Penstock: the player (CodePipeline, the weights of load balancers and aliases, and ECS) and the commands of `penstock`.

pub mod alb;
pub mod aliases;
pub mod codedeploy;
pub mod commands;
pub mod deaths;
pub mod demo;
pub mod ecs;
pub mod faults;
mod json_api;
pub mod kept;
pub mod live;
pub mod load;
pub mod pipeline;
pub mod player;
pub mod recorder;
pub mod run;
pub mod stack;
