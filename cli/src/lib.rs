//! The laptop's half of Penstock: the player (CodePipeline, and the weights of load balancers and aliases) and the commands of `penstock`.

pub mod alb;
pub mod aliases;
pub mod commands;
pub mod demo;
pub mod kept;
pub mod load;
pub mod pipeline;
pub mod player;
pub mod recorder;
pub mod run;
pub mod stack;
