//! `penstock load`.

pub use crate::load::Load;

/// Runs the command until its time is over or Ctrl-C ends it.
///
/// # Errors
/// When no load can be sent to that URL.
pub async fn run(load: Load) -> anyhow::Result<()> {
    let totals = crate::load::run(load, async {
        let _asked_or_broken = tokio::signal::ctrl_c().await;
    })
    .await?;
    println!("{totals}");
    Ok(())
}
