//! Which release is meant: by its id, by what it moves, or by a part of either.

use anyhow::{anyhow, bail};
use aws::Aws;
use aws::local::listing::{Begun, Listing};
use clap::Args;
use engine::ReleaseLog;
use release::{Head, Release, ReleaseId, TargetId};

/// The most releases that a message names.
const NAMED_MAX: usize = 5;

/// Which release.
#[derive(Debug, Args)]
pub struct Which {
    /// The release's id (the action's external execution id), the ARN of what it moves, or a part of
    /// either that fits nothing else. Of several releases of one target it is the one that is going
    /// on, or the newest.
    #[arg(value_name = "RELEASE|TARGET")]
    release: String,
    /// The release log's table: the stack's output ReleaseLogTable.
    #[arg(long, env = aws::TABLE_VARIABLE)]
    pub table: String,
}

impl Which {
    /// Finds it: by one query for an id or the ARN of a target that a release holds, else by a scan of
    /// the table.
    ///
    /// # Errors
    /// When nothing fits, or several targets do, or the table cannot be read.
    pub async fn find(&self, aws: &Aws) -> anyhow::Result<ReleaseId> {
        if let Ok(id) = ReleaseId::try_from(self.release.clone()) {
            let head: Head<Option<Release>> = aws.load(&id).await?;
            if head.state.is_some() {
                return Ok(id);
            }
        }
        if self.release.starts_with("arn:") {
            let holder = aws.holder(&TargetId(self.release.clone())).await?;
            if let Some(id) = holder {
                return Ok(id);
            }
        }
        if self.release.is_empty() {
            bail!("name a release or a target");
        }
        let listing = aws.releases().await?;
        let found = pick(&listing, &self.release).map_err(|error| anyhow!(error))?;
        Ok(found.id.clone())
    }
}

/// The release that this part of an id or of a target stands for.
fn pick<'a>(listing: &'a Listing, part: &str) -> Result<&'a Begun, String> {
    let fits = |begun: &&Begun| begun.id.as_str().contains(part) || begun.target.0.contains(part);
    let found: Vec<&Begun> = listing.begun.iter().filter(fits).collect();
    let Some(newest) = found.first() else {
        let more = match listing.is_complete {
            true => "",
            false => "; only a part of it was looked at, so name the whole id",
        };
        return Err(format!(
            "there is no release {part} in this table, and none of such a target{more}: \
             `penstock releases` lists them"
        ));
    };
    if let Some(other) = found.iter().find(|begun| begun.target != newest.target) {
        let named = found.iter().take(NAMED_MAX);
        let named: Vec<_> = named.map(|begun| begun.id.as_str()).collect();
        return Err(format!(
            "'{part}' fits releases of several targets, such as {} and {}: name one of {}{}",
            newest.target,
            other.target,
            named.join(", "),
            if found.len() > NAMED_MAX { ", ..." } else { "" }
        ));
    }
    let active = found
        .iter()
        .find(|begun| listing.active.contains(&begun.id));
    Ok(active.unwrap_or(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(complete: bool) -> Listing {
        let begun = |id: &str, target: &str, second| Begun {
            id: ReleaseId::try_from(id.to_owned()).unwrap(),
            target: TargetId(target.to_owned()),
            at: jiff::Timestamp::from_second(second).unwrap(),
        };
        Listing {
            begun: vec![
                begun("web-3c", "rule/app/shop", 3),
                begun("web-2b", "rule/app/shop", 2),
                begun("pay-1a", "function:pay:live", 1),
                begun("pay-0d", "function:pay:live", 0),
            ],
            active: [ReleaseId::try_from("web-2b".to_owned()).unwrap()].into(),
            unreadable: 0,
            is_complete: complete,
        }
    }

    #[test]
    fn a_part_stands_for_the_release_that_goes_on_or_for_the_newest() {
        let listing = listing(true);
        for (part, id) in [
            ("web-3", "web-3c"),
            ("shop", "web-2b"),
            ("web", "web-2b"),
            ("pay", "pay-1a"),
            ("0d", "pay-0d"),
        ] {
            assert_eq!(pick(&listing, part).unwrap().id.as_str(), id, "{part}");
        }
    }

    #[test]
    fn what_fits_nothing_or_several_targets_is_refused_with_what_there_is() {
        let several = pick(&listing(true), "-").unwrap_err();
        assert!(
            several.contains("name one of web-3c, web-2b, pay-1a, pay-0d"),
            "{several}"
        );
        let none = pick(&listing(true), "checkout").unwrap_err();
        assert!(none.starts_with("there is no release checkout"), "{none}");
        let none = pick(&listing(false), "checkout").unwrap_err();
        assert!(none.contains("only a part of it was looked at"), "{none}");
    }
}
