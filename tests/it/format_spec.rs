//! FORMAT.md and the code say the same, both ways: every constant and every layout of the format
//! modules is in a table of the specification with the same values, and the other way round.
//!
//! The tables: `| constant | value |` with rows such as `` | `NAME` | 64 | ``, and under a heading
//! `### Layout: Name` a table `| offset | size | field |` with rows such as `| 0 | 8 | magic |`.

use datestone_engine::format::{
    SpecConstant, SpecLayout, anchors, backup_file, block, block_index, hash_index, log_key,
    manifest_edit, manifest_frame, segment_filter, segment_footer, segment_stats, table_val,
    wal_frame, wal_record,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The format modules and what each says of itself.
const MODULES: &[(&str, &[SpecConstant], &[SpecLayout])] = &[
    ("anchors", anchors::CONSTANTS, anchors::LAYOUTS),
    ("backup_file", backup_file::CONSTANTS, backup_file::LAYOUTS),
    ("block", block::CONSTANTS, block::LAYOUTS),
    ("block_index", block_index::CONSTANTS, block_index::LAYOUTS),
    ("hash_index", hash_index::CONSTANTS, hash_index::LAYOUTS),
    ("log_key", log_key::CONSTANTS, log_key::LAYOUTS),
    ("manifest_edit", manifest_edit::CONSTANTS, manifest_edit::LAYOUTS),
    ("manifest_frame", manifest_frame::CONSTANTS, manifest_frame::LAYOUTS),
    ("segment_filter", segment_filter::CONSTANTS, segment_filter::LAYOUTS),
    ("segment_footer", segment_footer::CONSTANTS, segment_footer::LAYOUTS),
    ("segment_stats", segment_stats::CONSTANTS, segment_stats::LAYOUTS),
    ("table_val", table_val::CONSTANTS, table_val::LAYOUTS),
    ("wal_frame", wal_frame::CONSTANTS, wal_frame::LAYOUTS),
    ("wal_record", wal_record::CONSTANTS, wal_record::LAYOUTS),
];

/// What a specification says: constants by name, and layouts by name as fields with their sizes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spec {
    constants: BTreeMap<String, u64>,
    layouts: BTreeMap<String, Vec<(String, usize)>>,
}

impl Spec {
    fn constant(&mut self, name: &str, value: u64) {
        let known = self.constants.insert(name.into(), value);
        assert!(known.is_none_or(|known| known == value), "{name} is {known:?} and {value}");
    }

    fn field(&mut self, layout: &str, offset: usize, size: usize, field: &str) {
        let fields = self.layouts.entry(layout.into()).or_default();
        let end: usize = fields.iter().map(|(_, size)| size).sum();
        assert_eq!(offset, end, "offset of {layout}.{field}");
        fields.push((field.into(), size));
    }

    fn of_code() -> Self {
        let mut spec = Self::default();
        for (_, constants, layouts) in MODULES {
            for (name, value) in *constants {
                spec.constant(name, *value);
            }
            for (name, fields) in *layouts {
                assert!(!spec.layouts.contains_key(*name), "layout {name} is there twice");
                let fields = fields.iter().map(|(field, size)| ((*field).into(), *size));
                spec.layouts.insert((*name).into(), fields.collect());
            }
        }
        spec
    }

    fn of_text(text: &str) -> Self {
        let mut spec = Self::default();
        let (mut layout, mut table) = (None, Table::Other);
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.starts_with('#') {
                layout = line.strip_prefix("### Layout: ").map(|name| name.trim().to_owned());
                if let Some(name) = &layout {
                    let known = spec.layouts.insert(name.clone(), Vec::new());
                    assert!(known.is_none(), "line {number}: layout {name} is there twice");
                }
            }
            let Some(cells) = cells(line) else {
                table = Table::Other;
                continue;
            };
            match (cells.as_slice(), table) {
                (["constant", "value", ..], _) => table = Table::Constants,
                (["offset", "size", "field", ..], _) if layout.is_some() => table = Table::Layout,
                ([name, value, ..], Table::Constants) if !is_rule(name) => {
                    let name = name.trim_matches('`');
                    spec.constant(name, number_in(value, number));
                }
                ([offset, size, field, ..], Table::Layout) if !is_rule(offset) => {
                    let layout = layout.as_deref().unwrap_or_default();
                    let (offset, size) = (number_in(offset, number), number_in(size, number));
                    spec.field(layout, offset as usize, size as usize, field.trim_matches('`'));
                }
                _ => {}
            }
        }
        spec
    }
}

#[derive(Clone, Copy)]
enum Table {
    Constants,
    Layout,
    Other,
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(line.split('|').map(str::trim).collect())
}

fn is_rule(cell: &str) -> bool {
    cell.chars().all(|c| matches!(c, '-' | ':'))
}

fn number_in(cell: &str, line: usize) -> u64 {
    cell.parse().unwrap_or_else(|e| panic!("line {line} of FORMAT.md: '{cell}': {e}"))
}

fn engine_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine")
}

#[test]
fn the_specification_and_the_code_say_the_same() {
    let text = std::fs::read_to_string(engine_dir().join("FORMAT.md")).unwrap();
    let (spec, code) = (Spec::of_text(&text), Spec::of_code());
    for (name, value) in &code.constants {
        let said = spec.constants.get(name);
        assert_eq!(said, Some(value), "constant {name}: FORMAT.md (left), code (right)");
    }
    for name in spec.constants.keys() {
        assert!(code.constants.contains_key(name), "FORMAT.md has constant {name}, the code not");
    }
    for (name, fields) in &code.layouts {
        let said = spec.layouts.get(name);
        assert_eq!(said, Some(fields), "layout {name}: FORMAT.md (left), code (right)");
    }
    for name in spec.layouts.keys() {
        assert!(code.layouts.contains_key(name), "FORMAT.md has layout {name}, the code not");
    }
    assert!(code.constants.len() > 40 && code.layouts.len() > 10, "nothing was compared");
}

#[test]
fn every_format_module_is_compared() {
    let dir = engine_dir().join("src/format");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".rs"))
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("pub const CONSTANTS") || text.contains("pub const LAYOUTS") {
            assert!(MODULES.iter().any(|(module, ..)| *module == name), "format/{name}.rs");
            count += 1;
        }
    }
    assert_eq!(count, MODULES.len());
}

#[test]
fn tables_are_read_as_they_are_written() {
    let text = "# F\n| constant | value |\n| --- | --- |\n| `A_LEN` | 7 |\n\n| other | x |\n| - | - |\n\
        | `B` | 9 |\n### Layout: Head\ntext\n| offset | size | field |\n| ---: | --- | --- |\n\
        | 0 | 4 | magic |\n| 4 | 2 | `kind` |\n";
    let spec = Spec::of_text(text);
    assert_eq!(spec.constants.into_iter().collect::<Vec<_>>(), [("A_LEN".to_owned(), 7)]);
    let fields = vec![("magic".to_owned(), 4), ("kind".to_owned(), 2)];
    assert_eq!(spec.layouts.into_iter().collect::<Vec<_>>(), [("Head".to_owned(), fields)]);
}

#[test]
#[should_panic(expected = "offset of Head.kind")]
fn a_gap_in_a_layout_is_noticed() {
    Spec::of_text(
        "### Layout: Head\n| offset | size | field |\n| 0 | 4 | magic |\n| 5 | 2 | kind |\n",
    );
}
