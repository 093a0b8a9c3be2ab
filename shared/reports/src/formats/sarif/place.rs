//! Where the files are that a run speaks of.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use crate::json::{Fault, Json};
use crate::limits::PATH_CHARS_MAX;
use crate::text;

/// Most bases on top of one another.
const BASES_MAX: usize = 8;

/// An artifactLocation.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// Decoded; empty when only the index is told.
    path: String,
    /// The id of the base that it is relative to.
    base: String,
    /// Its place in the run's artifacts.
    index: Option<usize>,
}

/// What places refer to.
#[derive(Default)]
pub(super) struct Places {
    pub(super) artifacts: Vec<Place>,
    pub(super) bases: HashMap<String, Place>,
}

impl Place {
    pub(super) fn read(json: &mut Json<'_>) -> Result<Self, Fault> {
        let mut place = Self::default();
        json.object(|name, json| {
            match name {
                "uri" => place.path = decoded(&json.string()?.unwrap_or_default()),
                "uriBaseId" => place.base = json.line()?,
                "index" => place.index = json.index()?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(place)
    }

    /// The text it has.
    pub(super) fn bytes(&self) -> usize {
        self.path.len() + self.base.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.path.is_empty() && self.index.is_none()
    }
}

impl Places {
    /// The path of a place, below its bases as far as they are relative.
    pub(super) fn path(&self, place: &Place) -> String {
        let artifact = place.index.and_then(|index| self.artifacts.get(index));
        let place = match place.path.is_empty() {
            true => artifact.unwrap_or(place),
            false => place,
        };
        let mut path = place.path.clone();
        let mut base = self.bases.get(&place.base);
        for _ in 0..BASES_MAX {
            let above = base.filter(|base| !is_absolute(&path) && !is_absolute(&base.path));
            let Some(above) = above else { break };
            path.insert_str(0, &above.path);
            base = self.bases.get(&above.base);
        }
        path
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.contains("://") || has_drive(path)
}

fn has_drive(path: &str) -> bool {
    path.get(1..2) == Some(":")
}

/// The path that an address stands for.
fn decoded(uri: &str) -> String {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let path = percent_decode_str(path).decode_utf8_lossy();
    let drive = path.strip_prefix('/').filter(|path| has_drive(path));
    text::line(drive.unwrap_or(&path), PATH_CHARS_MAX)
}
