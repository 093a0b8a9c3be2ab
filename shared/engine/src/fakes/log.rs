//! One log in memory. Copies share what they have in common: a search makes millions of them.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Index;
use std::rc::Rc;

use release::{Head, Story};
use serde_json::Value;

/// Stored events as they would be on disk, in order.
#[derive(Debug, Clone, Default)]
pub struct Log {
    stored: Rc<Vec<Rc<Value>>>,
    /// What they add up to, when that is known: a `Head` of the story.
    folded: Option<Rc<dyn Any>>,
    digest: u64,
}

impl Log {
    /// How many.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        self.stored.iter().map(Rc::as_ref)
    }

    /// One more.
    pub fn push(&mut self, event: Value) {
        let mut hasher = DefaultHasher::new();
        (self.digest, event.to_string()).hash(&mut hasher);
        self.digest = hasher.finish();
        self.folded = None;
        Rc::make_mut(&mut self.stored).push(Rc::new(event));
    }

    /// Stands for all of them.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// What they add up to, if that has been kept.
    pub(super) fn folded<S: Story>(&self) -> Option<Rc<Head<S>>> {
        self.folded.clone()?.downcast().ok()
    }

    pub(super) fn keep<S: Story>(&mut self, folded: Rc<Head<S>>) {
        self.folded = Some(folded);
    }
}

/// See [`Log::iter`].
pub type Iter<'a> = std::iter::Map<std::slice::Iter<'a, Rc<Value>>, fn(&'a Rc<Value>) -> &'a Value>;

impl<'a> IntoIterator for &'a Log {
    type Item = &'a Value;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Index<usize> for Log {
    type Output = Value;

    fn index(&self, number: usize) -> &Value {
        &self.stored[number]
    }
}

impl From<Vec<Value>> for Log {
    fn from(events: Vec<Value>) -> Self {
        let mut log = Self::default();
        events.into_iter().for_each(|event| log.push(event));
        log
    }
}
