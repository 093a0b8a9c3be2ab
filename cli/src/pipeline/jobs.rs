//! Jobs: what a Lambda action is asked, and the one answer that each of them takes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

/// So many jobs are remembered; the oldest are forgotten first, and then `JobNotFound`.
const JOBS_MAX: usize = 10_000;

/// What a function answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// PutJobSuccessResult.
    Success {
        /// With a token the work goes on in a new job.
        continuation_token: Option<String>,
        /// How it stands.
        details: Details,
        /// Output variables; none beside a token.
        variables: BTreeMap<String, String>,
    },
    /// PutJobFailureResult.
    Failure {
        /// `JobFailed`, `ConfigurationError` ..
        code: String,
        /// Why.
        message: String,
        /// The name of the work where it is done.
        external_execution_id: Option<String>,
    },
}

/// How a job's work stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// In words.
    pub summary: Option<String>,
    /// The name of the work where it is done.
    pub external_execution_id: Option<String>,
    /// 0..=100.
    pub percent: Option<u8>,
}

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// No such job.
    #[error("the job does not exist")]
    NotFound,
    /// Answered, timed out or abandoned before.
    #[error("the job is closed: it was answered before, timed out, or was abandoned")]
    Closed,
}

/// All jobs of the player.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// `None` once a job is closed.
    open: HashMap<Uuid, Option<oneshot::Sender<Answer>>>,
    order: VecDeque<Uuid>,
}

impl Jobs {
    /// A new job, and where its answer will arrive. Dropping the receiver closes the job.
    pub fn open(&self) -> (Uuid, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let id = Uuid::new_v4();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.order.len() == JOBS_MAX
            && let Some(oldest) = table.order.pop_front()
        {
            table.open.remove(&oldest);
        }
        table.order.push_back(id);
        table.open.insert(id, Some(sender));
        (id, receiver)
    }

    /// Takes the first answer to a job.
    ///
    /// # Errors
    /// [`JobError`] for each later one.
    pub fn answer(&self, id: &str, answer: Answer) -> Result<(), JobError> {
        let id = Uuid::parse_str(id).map_err(|_| JobError::NotFound)?;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = table
            .open
            .get_mut(&id)
            .ok_or(JobError::NotFound)?
            .take()
            .ok_or(JobError::Closed)?;
        sender.send(answer).map_err(|_| JobError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Answer {
        Answer::Success {
            continuation_token: None,
            details: Details::default(),
            variables: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_job_takes_one_answer() {
        let jobs = Jobs::default();
        let (id, answer) = jobs.open();
        assert_eq!(jobs.answer(&id.to_string(), done()), Ok(()));
        assert_eq!(jobs.answer(&id.to_string(), done()), Err(JobError::Closed));
        assert_eq!(answer.await.unwrap(), done());
        assert_eq!(
            jobs.answer(&Uuid::new_v4().to_string(), done()),
            Err(JobError::NotFound)
        );
    }

    #[test]
    fn an_abandoned_job_takes_none() {
        let jobs = Jobs::default();
        let (id, answer) = jobs.open();
        drop(answer);
        assert_eq!(jobs.answer(&id.to_string(), done()), Err(JobError::Closed));
    }

    #[test]
    fn the_oldest_jobs_are_forgotten() {
        let jobs = Jobs::default();
        let (first, _answer) = jobs.open();
        let _others: Vec<_> = (0..JOBS_MAX).map(|_| jobs.open()).collect();
        assert_eq!(
            jobs.answer(&first.to_string(), done()),
            Err(JobError::NotFound)
        );
    }
}
