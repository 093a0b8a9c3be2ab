//! The laptop's half of Penstock: the player (CodePipeline, and the load balancer's weights) and the commands of `penstock`.

pub mod alb;
pub mod commands;
pub mod demo;
pub mod kept;
pub mod load;
pub mod pipeline;
pub mod player;
pub mod run;
pub mod stack;
