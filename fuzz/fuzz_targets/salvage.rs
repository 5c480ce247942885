//! See `datestone_fuzz_targets::salvage`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| datestone_fuzz_targets::salvage(data));
