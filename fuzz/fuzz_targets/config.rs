//! A penstock.yaml: whatever the bytes are, it is read or refused with a place and a fix.
#![no_main]

use libfuzzer_sys::fuzz_target;
use release::config::Config;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Err(error) = Config::parse(text) {
            assert!(!error.to_string().is_empty());
        }
    }
});
