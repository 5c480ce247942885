//! Options as text.

use super::*;
use crate::error::ErrorKind;
use std::ffi::OsString;

#[test]
fn every_option_goes_round_through_text() {
    let odd = Options {
        create_if_missing: false,
        access: Access::Group,
        memory_limit: Some(64 << 20),
        memtable_bytes: (1 << 20) + 1,
        wal_file_bytes: 1 << 20,
        background_threads: 3,
        durability: Durability::None,
        compression: Compression::Cold { level: 7 },
        block_cache_bytes: 0,
        hash_index: false,
        segment_bytes: 1 << 20,
        auto_compaction: false,
        scrub_period_seconds: 86_400,
        ..Options::default()
    };
    for options in [odd.clone(), Options::default()] {
        assert_eq!(options.to_string().parse::<Options>().unwrap(), options);
    }
    // No option has the same text in both: every line of the table is heard.
    for option in Options::table() {
        assert_ne!(option.get(&odd), option.default(), "{}", option.name);
        let mut options = Options::default();
        options.set(option.name, &option.get(&odd)).unwrap();
        assert_eq!(option.get(&options), option.get(&odd), "{}", option.name);
    }
    let shown = format!("{:?}", Options::default());
    for option in Options::table() {
        assert!(shown.contains(&format!("{}: ", option.name)), "no field {}", option.name);
    }
}

#[test]
fn a_refusal_names_key_value_and_bounds_and_changes_nothing() {
    for (text, told) in [
        ("memtable_bytes=1", "option memtable_bytes is 1, must be from 64KiB to 4GiB"),
        ("memtable_bytes=64MB", "option memtable_bytes is 64MB, must be from 64KiB to 4GiB"),
        (
            "wal_file_bytes=65537",
            "option wal_file_bytes is 65537, must be from 64KiB to 4GiB, a multiple of 4KiB",
        ),
        ("background_threads=65", "option background_threads is 65, must be from 0 to 64"),
        ("background_threads=-1", "option background_threads is -1, must be from 0 to 64"),
        ("memory_limit=1MiB", "option memory_limit is 1MiB, must be none or from 4MiB to 1TiB"),
        ("hash_index=yes", "option hash_index is yes, must be true or false"),
        ("durability=", "option durability is , must be fsync, buffer or none"),
        (
            "compression=zstd:20",
            "option compression is zstd:20, must be none or zstd:LEVEL with LEVEL from 1 to 19",
        ),
        (
            "memtable=1",
            "no option 'memtable' (given the value '1'); the nearest is 'memtable_bytes'",
        ),
        ("memtable_bytes", "invalid: 'memtable_bytes' is not of the form name=value"),
    ] {
        let error = text.parse::<Options>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert_eq!(error.to_string(), told);
    }
    let mut options = Options::default();
    assert!(options.set("memtable_bytes", "1").is_err());
    assert_eq!(options, Options::default());
    assert!("".parse::<Options>().is_ok_and(|options| options == Options::default()));
    assert!(Options::default().set(&"x".repeat(1 << 20), "").is_err());
}

#[test]
fn a_struct_out_of_bounds_is_refused_like_its_text() {
    for (bad, told) in [
        (Options { memtable_bytes: 1, ..Options::default() }, "memtable_bytes is 1"),
        (Options { background_threads: 65, ..Options::default() }, "background_threads is 65"),
        (Options { wal_file_bytes: 65_537, ..Options::default() }, "wal_file_bytes is 65537"),
        (
            Options { compression: Compression::Cold { level: 0 }, ..Options::default() },
            "compression is zstd:0",
        ),
    ] {
        let error = bad.check().unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
    Options::default().check().unwrap();
}

#[test]
fn a_memory_limit_gives_sizes_and_refuses_those_that_do_not_fit() {
    let limited = Options { memory_limit: Some(64 << 20), ..Options::default() };
    limited.check().unwrap();
    let derived = limited.derived();
    assert_eq!((derived.block_cache_bytes, derived.memtable_bytes), (8 << 20, 6 << 20));
    assert_eq!(limited.memtable_share(), Some(48 << 20));
    let own = Options { memtable_bytes: 12 << 20, ..limited.clone() };
    own.check().unwrap();
    assert_eq!(own.derived().memtable_bytes, 12 << 20);
    for bad in [
        Options { memtable_bytes: (12 << 20) + 1, ..limited.clone() },
        Options { block_cache_bytes: 60 << 20, ..limited.clone() },
        Options { block_cache_bytes: 1 << 30, ..limited },
    ] {
        let told = bad.check().unwrap_err().to_string();
        assert!(told.contains("memory_limit is 64MiB") && told.contains("raise"), "{told}");
    }
    let least = Options { memory_limit: Some(4 << 20), ..Options::default() };
    least.check().unwrap();
    assert!(Options { memory_limit: Some((4 << 20) - 1), ..least }.check().is_err());
    assert_eq!(Options::default().derived(), Options::default());
}

#[test]
fn sizes_have_units_and_no_surprises() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("1KiB", 1 << 10),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("3GiB", 3 << 30),
        ("2TiB", 2 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
        assert_eq!(parse_size(&display_size(bytes)), Some(bytes), "{text}");
    }
    for bad in [
        "",
        "MiB",
        "1MB",
        "1m",
        "-1",
        "+1",
        "1.5GiB",
        "0x10",
        " 1",
        "1  KiB",
        "18446744073709551616",
        "16777216TiB",
    ] {
        assert_eq!(parse_size(bad), None, "{bad}");
    }
}

#[test]
fn the_environment_sets_options_and_near_misses_are_refused() {
    let vars = |vars: &[(&str, &str)]| {
        Options::from_vars(vars.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))))
    };
    let options = vars(&[
        ("PATH", "/bin"),
        ("DATESTONE_SEED", "7"),
        ("DATESTONE_MEMTABLE_BYTES", "1MiB"),
        ("DATESTONE_HASH_INDEX", "false"),
    ])
    .unwrap();
    assert_eq!((options.memtable_bytes, options.hash_index), (1 << 20, false));
    let error = vars(&[("DATESTONE_MEMTABLE_BYTE", "1MiB")]).unwrap_err();
    assert!(error.to_string().contains("the nearest is 'memtable_bytes'"), "{error}");
    assert!(vars(&[("DATESTONE_MEMTABLE_BYTES", "")]).is_err());
    for option in Options::table() {
        let value = option.default();
        assert_eq!(vars(&[(&option.variable(), &value)]).unwrap(), Options::default());
    }
}
