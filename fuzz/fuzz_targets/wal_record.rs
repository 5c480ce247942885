//! See `datestone_fuzz_targets::wal_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| datestone_fuzz_targets::wal_record(data));
