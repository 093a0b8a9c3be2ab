//! A zip: whatever the bytes are, it is opened or refused, and every file in it is read or refused.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use reports::Archive;

/// Files that are read of one zip.
const FILES_MAX: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut archive) = Archive::open(Cursor::new(bytes)) else {
        return;
    };
    let names: Vec<String> = archive.names().take(FILES_MAX).map(str::to_owned).collect();
    for name in names {
        let parts: Vec<_> = name.split('/').collect();
        assert!(!name.starts_with('/') && !parts.contains(&".."), "{name:?}");
        let _ = archive.report(&name, None);
        let _ = archive.read_small(&name, 4096);
    }
});
