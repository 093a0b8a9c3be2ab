//! Whether an event may be believed: that it comes from here, and from whom its type says.

use super::{OutsideEvent, Sender, Source, words};

/// Where the function runs. Events of another account or region tell of other things that may have
/// the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The account, 12 digits.
    pub account: String,
    /// The region, such as `eu-west-1`.
    pub region: String,
}

impl Home {
    /// Of the ARN of the function that was invoked; `None` when it is none.
    pub fn of_function(arn: &str) -> Option<Self> {
        let parts: Vec<_> = arn.split(':').collect();
        match parts[..] {
            ["arn", _, "lambda", region, account, "function", _, ..]
                if !region.is_empty() && !account.is_empty() =>
            {
                Some(Self {
                    account: account.to_owned(),
                    region: region.to_owned(),
                })
            }
            _ => None,
        }
    }
}

/// Sources that stand in for those of AWS where there is no AWS: `local.cloudwatch` for
/// `aws.cloudwatch`. None on AWS.
#[derive(Debug, Clone, Default)]
pub struct StandIns(Vec<String>);

impl StandIns {
    /// Names separated by commas, as the environment has them.
    pub fn parse(text: &str) -> Self {
        let names = text.split(',').map(str::trim).filter(|n| !n.is_empty());
        Self(names.map(str::to_owned).collect())
    }

    /// Whether `source` stands for this service of AWS.
    fn stand_for(&self, source: &str, service: &str) -> bool {
        let name = |source: &str, of: &str| source.strip_prefix(of).map(str::to_owned);
        self.0.iter().any(|known| known == source)
            && name(source, "local.").is_some()
            && name(source, "local.") == name(service, "aws.")
    }
}

/// Why an event is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Of another account or region.
    #[error(
        "could not trust the event: it is of account '{account}' and region '{region}', and the \
         function of {} and {}; let each account and region have a stack of its own",
        home.account, home.region
    )]
    Elsewhere {
        /// The event's.
        account: String,
        /// The event's.
        region: String,
        /// The function's.
        home: Home,
    },
    /// Of a type that is sent by somebody else.
    #[error(
        "could not trust the event: a '{detail_type}' comes from {expected}, not from '{source_name}'"
    )]
    Sender {
        /// The event's.
        detail_type: String,
        /// Whose it would have to be.
        expected: &'static str,
        /// Whose it is.
        source_name: String,
    },
}

impl OutsideEvent<'_> {
    /// Whether it comes from the function's own account and region, and from whom its type says. A
    /// type that no source reads is not refused here: reading it is what fails.
    ///
    /// # Errors
    /// Says where it comes from instead.
    pub fn trusted(&self, home: &Home, stand_ins: &StandIns) -> Result<(), Untrusted> {
        if self.account != home.account || self.region != home.region {
            return Err(Untrusted::Elsewhere {
                account: words(self.account),
                region: words(self.region),
                home: home.clone(),
            });
        }
        let Some(kind) = Source::of(self.detail_type) else {
            return Ok(());
        };
        let (trusted, expected) = match kind.sender {
            Sender::Aws(service) => (
                self.source == service || stand_ins.stand_for(self.source, service),
                service,
            ),
            Sender::Stack(source) => (self.source == source, source),
            Sender::Anybody => (
                !self.source.is_empty() && !self.source.starts_with("aws."),
                "a source of your own",
            ),
        };
        match trusted {
            true => Ok(()),
            false => Err(Untrusted::Sender {
                detail_type: words(self.detail_type),
                expected,
                source_name: words(self.source),
            }),
        }
    }
}
