//! Finds what a gate looks at, in artifacts or in folders: the same code in a function and on a
//! laptop.

use std::collections::BTreeMap;
use std::io;

use engine::{Input, chain};
use jiff::Timestamp;
use release::gate::{Evidence, Found, Gate};
use reports::{Archive, Diff, Format, ReadError, Report};

/// The largest `commit-file`, in bytes.
const COMMIT_BYTES_MAX: u64 = 1024;

/// Files that can be found by glob and read: an artifact, or a folder.
pub trait Files {
    /// The paths of the files that match `glob`, with `/` between their parts.
    ///
    /// # Errors
    ///
    /// [`ReadError::Glob`] for what is no pattern.
    fn find(&mut self, glob: &str) -> Result<Vec<String>, ReadError>;

    /// Reads a report, in `format` or in the one that its content shows.
    ///
    /// # Errors
    ///
    /// Any that is about a report, and [`ReadError::Input`] when it could not be had.
    fn report(&mut self, path: &str, format: Option<Format>) -> Result<Report, ReadError>;

    /// Reads a unified diff; None when there is no such file.
    ///
    /// # Errors
    ///
    /// As for a report.
    fn diff(&mut self, path: &str) -> Result<Option<Diff>, ReadError>;

    /// The whole of a small file; None when there is no such file.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLarge`] above `bytes_max`, and as for a report.
    fn small(&mut self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError>;

    /// When the file was last written, where that is known.
    fn modified(&self, path: &str) -> Option<Timestamp>;
}

impl<I: Input> Files for Archive<I> {
    fn find(&mut self, glob: &str) -> Result<Vec<String>, ReadError> {
        Archive::find(self, [glob])
    }

    fn report(&mut self, path: &str, format: Option<Format>) -> Result<Report, ReadError> {
        Archive::report(self, path, format)
    }

    fn diff(&mut self, path: &str) -> Result<Option<Diff>, ReadError> {
        Archive::diff(self, path)
    }

    fn small(&mut self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.read_small(path, bytes_max)
    }

    fn modified(&self, path: &str) -> Option<Timestamp> {
        Archive::modified(self, path)
    }
}

/// Why the gate's files could not be looked at, so that there is nothing to judge.
#[derive(Debug)]
pub enum GatherError {
    /// A glob is no pattern: the configuration's mistake.
    Glob(ReadError),
    /// Their bytes could not be had. They may be fine.
    Input(io::Error),
}

/// Looks for everything that the gate names. What is missing or cannot be read is evidence too.
///
/// # Errors
///
/// Those of [`GatherError`].
pub fn gather(gate: &Gate, places: &mut [impl Files]) -> Result<Evidence, GatherError> {
    let mut evidence = Evidence::default();
    // Two globs may match one file: it is read once, in the format that the first of them names that
    // names one.
    let mut files: Vec<(usize, String, Option<Format>)> = Vec::new();
    let mut seen: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for glob in &gate.reports {
        let mut matched = false;
        for (number, place) in places.iter_mut().enumerate() {
            for path in place.find(&glob.path).map_err(GatherError::Glob)? {
                matched = true;
                let at = *seen.entry((number, path.clone())).or_insert(files.len());
                match files.get_mut(at) {
                    Some((.., format)) => *format = format.or(glob.format),
                    None => files.push((number, path, glob.format)),
                }
            }
        }
        if !matched {
            let glob = glob.path.clone();
            evidence.add(Found::Missing { glob });
        }
    }
    for (number, path, format) in files {
        if let Some(place) = places.get_mut(number) {
            let format = format.or(gate.format);
            evidence.add(read_report(number, place, path, format)?);
        }
    }
    let named = [
        (&gate.commit_file, read_commit as Read<_>),
        (&gate.diff, read_diff),
    ];
    for (path, read) in named {
        if let Some(path) = path {
            evidence.add(read_named(places, path, read)?);
        }
    }
    Ok(evidence)
}

/// Reads a report out of the place of this number, in `format` or in the one that its content shows.
///
/// # Errors
///
/// [`GatherError::Input`].
pub fn read_report(
    number: usize,
    place: &mut impl Files,
    path: String,
    format: Option<Format>,
) -> Result<Found, GatherError> {
    let modified = place.modified(&path);
    let report = place.report(&path, format);
    Ok(unless_unreadable(report)?.map_or_else(
        |why| Found::Unreadable { why },
        |report| Found::Report {
            place: number,
            path,
            modified,
            report,
        },
    ))
}

type Read<F> = fn(&mut F, &str) -> Result<Option<Found>, ReadError>;

/// Reads a file that the gate names, from the first place that has it.
fn read_named<F: Files>(places: &mut [F], path: &str, read: Read<F>) -> Result<Found, GatherError> {
    for place in places {
        match unless_unreadable(read(place, path))? {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => return Ok(Found::Unreadable { why }),
        }
    }
    let glob = path.to_owned();
    Ok(Found::Missing { glob })
}

fn read_commit<F: Files>(place: &mut F, path: &str) -> Result<Option<Found>, ReadError> {
    let bytes = place.small(path, COMMIT_BYTES_MAX)?;
    Ok(bytes.map(|bytes| Found::commit(path, &bytes)))
}

fn read_diff<F: Files>(place: &mut F, path: &str) -> Result<Option<Found>, ReadError> {
    Ok(place.diff(path)?.map(Found::Diff))
}

/// Tells what could not be had from what cannot be read, which is evidence.
fn unless_unreadable<T>(read: Result<T, ReadError>) -> Result<Result<T, String>, GatherError> {
    match read.map_err(ReadError::into_input) {
        Ok(read) => Ok(Ok(read)),
        Err(Ok(input)) => Err(GatherError::Input(input)),
        Err(Err(error)) => Ok(Err(chain(&error))),
    }
}
