//! See `datestone_fuzz_targets::backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| datestone_fuzz_targets::backup(data));
