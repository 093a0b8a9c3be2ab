//! Counts AWS calls and the bytes of artifacts, so that every invocation can say what it cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

/// What AWS was asked for since somebody last looked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    artifact_bytes: AtomicU64,
}

impl Calls {
    /// Requests that went out: attempts count, not operations. The count starts again at zero.
    pub(crate) fn take(&self) -> u64 {
        self.0.requests.swap(0, Ordering::Relaxed)
    }

    /// Bytes of artifacts that arrived. The count starts again at zero.
    pub(crate) fn take_artifact_bytes(&self) -> u64 {
        self.0.artifact_bytes.swap(0, Ordering::Relaxed)
    }

    /// Bytes of an artifact arrived.
    pub(crate) fn fetched(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.0.artifact_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
