//! A unified diff: whatever the bytes are, it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = reports::Diff::read("change.diff", bytes);
});
