//! A Lambda alias that divides invocations between two versions of a function.

use crate::function::Function;
use crate::subject::Arm;
use crate::world::World;

/// Versions of a new function, as Lambda numbers them.
const STABLE: &str = "1";
const CANDIDATE: &str = "2";
/// Each of the two versions of the function that it names never fails.
const FAILS_PERCENT: u32 = 0;

/// An alias on the stable version of a function whose next version is uploaded, and not published.
pub struct Alias(Function);

impl Alias {
    pub fn make(world: &World) -> anyhow::Result<Self> {
        // Python is asked to do it, which takes its time.
        tokio::task::block_in_place(|| {
            let function = Function::create(world)?;
            function.upload(world, FAILS_PERCENT)?;
            Ok(Self(function))
        })
    }

    /// Gives the stable version everything again.
    pub async fn reset(&self, world: &World) -> anyhow::Result<()> {
        self.0.move_by_hand(world, STABLE).await
    }

    /// The candidate is published by each release that asks for it, and is the same each time.
    pub fn config(&self) -> String {
        let function = &self.0.arn;
        format!("lambda-alias: {{function: \"{function}\", alias: live, version: published}}")
    }

    pub fn target(&self) -> String {
        format!("{}:live", self.0.arn)
    }

    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        let (version, others) = self.0.alias(world).await?;
        Ok(match others.is_empty() {
            true => arm(&version),
            false => Arm::Neither(format!("version {version} beside {others:?}")),
        })
    }

    /// Once: each of the emulator's versions that is invoked is a process that stays.
    pub async fn answers(&self, world: &World) -> anyhow::Result<Vec<Arm>> {
        let invoke = world.stack.invoking().invoke();
        let answer = invoke.function_name(self.target()).send().await?;
        let version = answer.executed_version.unwrap_or_default();
        Ok(vec![match answer.function_error {
            None => arm(&version),
            Some(error) => Arm::Neither(format!("version {version}, {error}")),
        }])
    }
}

fn arm(version: &str) -> Arm {
    match version {
        STABLE => Arm::Stable,
        CANDIDATE => Arm::Candidate,
        other => Arm::Neither(format!("version {other}")),
    }
}
