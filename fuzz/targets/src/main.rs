//! Writes the seeds into the corpora: `cargo run -p datestone-fuzz-targets`.

use datestone_fuzz_targets::seeds::seeds;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (target, name, bytes) in seeds() {
        let dir = corpus.join(target);
        std::fs::create_dir_all(&dir)?;
        write(&dir.join(name), &bytes)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a file of the corpus, not of a database")]
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, bytes)
}
