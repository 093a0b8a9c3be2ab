//! Artifacts: zip files in the artifact bucket.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Serialize;
use walkdir::WalkDir;
use zip::read::ExtractOptions;
use zip::write::SimpleFileOptions;

use super::buildspec::Files;

/// AWS's bound on the files in one artifact.
const FILES_MAX: usize = 100_000;
/// A directory tree is searched so deep.
const DEPTH_MAX: usize = 64;
/// AWS's bound on an artifact that no S3 source made, packed; ours also unpacked. In bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 1 << 30;

/// Where an artifact lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Location {
    /// The artifact's name.
    pub name: String,
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
}

/// Why an artifact could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A pattern that is none.
    #[error("could not read the pattern `{pattern}`")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: globset::Error,
    },
    /// Nothing to pack.
    #[error(
        "no matching artifact paths found in {directory} for {patterns}; correct artifacts.files or base-directory"
    )]
    Empty {
        /// Where was looked, relative to the source.
        directory: String,
        /// What was looked for.
        patterns: String,
    },
    /// The base directory leaves the source directory or does not exist.
    #[error("base-directory {0} is not a directory inside the source")]
    Base(String),
    /// Two files of one name, after `discard-paths`.
    #[error("two files are named {0}; remove discard-paths, or narrow artifacts.files")]
    Duplicate(String),
    /// Beyond the bounds.
    #[error(
        "the artifact has more than {FILES_MAX} files or {ARTIFACT_BYTES_MAX} bytes; narrow artifacts.files"
    )]
    TooBig,
    /// A directory could not be walked.
    #[error("could not walk the files")]
    Walk(#[from] walkdir::Error),
    /// Reading or writing failed.
    #[error("could not read or write a file")]
    Io(#[from] io::Error),
    /// No legal zip file.
    #[error("could not read or write the zip file")]
    Zip(#[from] zip::result::ZipError),
}

/// Unpacks an artifact into an empty directory. Links that leave it are refused.
pub fn unpack(zip: &Path, into: &Path) -> Result<(), ArtifactError> {
    let mut archive = zip::ZipArchive::new(File::open(zip)?)?;
    if archive.len() > FILES_MAX {
        return Err(ArtifactError::TooBig);
    }
    let options = ExtractOptions::default().with_size_limit(ARTIFACT_BYTES_MAX);
    Ok(archive.extract_with_options(into, options)?)
}

/// Packs what a buildspec's `artifacts` section names. Symbolic links are left out.
pub fn pack(source: &Path, files: &Files, zip: &Path) -> Result<(), ArtifactError> {
    let base = base_directory(source, &files.base_directory)?;
    let wanted = patterns(&files.files)?;
    let excluded = patterns(&files.exclude_paths)?;
    let mut writer = zip::ZipWriter::new(BufWriter::new(File::create(zip)?));
    let (mut count, mut bytes) = (0, 0);
    for entry in WalkDir::new(&base).max_depth(DEPTH_MAX).sort_by_file_name() {
        let entry = entry?;
        let Ok(path) = entry.path().strip_prefix(&base) else {
            continue;
        };
        if !entry.file_type().is_file() || !wanted.is_match(path) || excluded.is_match(path) {
            continue;
        }
        let metadata = entry.metadata()?;
        count += 1;
        bytes += metadata.len();
        if count > FILES_MAX || bytes > ARTIFACT_BYTES_MAX {
            return Err(ArtifactError::TooBig);
        }
        let name = if files.discard_paths {
            Path::new(entry.file_name())
        } else {
            path
        };
        let name = name.to_string_lossy().into_owned();
        let options = SimpleFileOptions::default().unix_permissions(mode(&metadata));
        match writer.start_file(&name, options) {
            Ok(()) => io::copy(&mut File::open(entry.path())?, &mut writer)?,
            Err(_) if files.discard_paths => return Err(ArtifactError::Duplicate(name)),
            Err(error) => return Err(error.into()),
        };
    }
    writer.finish()?;
    if count == 0 {
        let directory = files
            .base_directory
            .clone()
            .unwrap_or_else(|| "the source directory".into());
        return Err(ArtifactError::Empty {
            directory,
            patterns: files.files.join(", "),
        });
    }
    Ok(())
}

fn base_directory(source: &Path, base: &Option<String>) -> Result<PathBuf, ArtifactError> {
    let Some(base) = base else {
        return Ok(source.to_owned());
    };
    let outside = || ArtifactError::Base(base.clone());
    let path = source.join(base).canonicalize().map_err(|_| outside())?;
    let source = source.canonicalize()?;
    if path.is_dir() && path.starts_with(&source) {
        Ok(path)
    } else {
        Err(outside())
    }
}

fn patterns(list: &[String]) -> Result<GlobSet, ArtifactError> {
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        let glob = GlobBuilder::new(pattern.trim_start_matches("./"))
            .literal_separator(true)
            .build();
        set.add(glob.map_err(|source| ArtifactError::Pattern {
            pattern: pattern.clone(),
            source,
        })?);
    }
    set.build().map_err(|source| ArtifactError::Pattern {
        pattern: list.join(", "),
        source,
    })
}

fn mode(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.txt", "out/b.txt", "out/deep/c.txt", "out/deep/d.log"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        dir
    }

    fn packed(files: &Files) -> Result<Vec<String>, ArtifactError> {
        let (dir, into) = (tree(), tempfile::tempdir().unwrap());
        let zip = into.path().join("x.zip");
        pack(dir.path(), files, &zip)?;
        let mut archive = zip::ZipArchive::new(File::open(&zip).unwrap()).unwrap();
        Ok((0..archive.len())
            .map(|i| archive.by_index(i).unwrap().name().unwrap().into_owned())
            .collect())
    }

    fn files(patterns: &[&str]) -> Files {
        Files {
            files: patterns.iter().map(|p| p.to_string()).collect(),
            ..Files::default()
        }
    }

    #[test]
    fn patterns_choose_what_is_packed() {
        assert_eq!(packed(&files(&["*"])).unwrap(), ["a.txt"]);
        assert_eq!(
            packed(&files(&["**/*"])).unwrap(),
            ["a.txt", "out/b.txt", "out/deep/c.txt", "out/deep/d.log"]
        );
        let under = Files {
            base_directory: Some("out".into()),
            exclude_paths: vec!["**/*.log".into()],
            ..files(&["**/*"])
        };
        assert_eq!(packed(&under).unwrap(), ["b.txt", "deep/c.txt"]);
        let flat = Files {
            discard_paths: true,
            ..files(&["out/deep/*"])
        };
        assert_eq!(packed(&flat).unwrap(), ["c.txt", "d.log"]);
    }

    #[test]
    fn nothing_to_pack_is_an_error_that_names_the_patterns() {
        let error = packed(&files(&["target/*"])).unwrap_err().to_string();
        assert!(error.contains("for target/*"), "{error}");
    }

    #[test]
    fn a_base_directory_cannot_leave_the_source() {
        let up = Files {
            base_directory: Some("../..".into()),
            ..files(&["**/*"])
        };
        assert!(matches!(packed(&up), Err(ArtifactError::Base(_))));
    }

    #[test]
    fn what_was_packed_unpacks_the_same_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, into) = (tree(), tempfile::tempdir().unwrap());
        fs::set_permissions(dir.path().join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        let zip = into.path().join("x.zip");
        pack(dir.path(), &files(&["**/*"]), &zip).unwrap();
        let copy = into.path().join("copy");
        unpack(&zip, &copy).unwrap();
        assert_eq!(
            fs::read_to_string(copy.join("out/deep/c.txt")).unwrap(),
            "out/deep/c.txt"
        );
        assert_eq!(
            fs::metadata(copy.join("a.txt"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
    }

    #[test]
    fn a_path_that_leaves_the_directory_is_not_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let zip = dir.path().join("evil.zip");
        let mut writer = zip::ZipWriter::new(File::create(&zip).unwrap());
        writer
            .start_file("../escaped.txt", SimpleFileOptions::default())
            .unwrap();
        writer.finish().unwrap();
        let _ = unpack(&zip, &dir.path().join("inner"));
        assert!(!dir.path().join("escaped.txt").exists());
    }
}
