//! The demo does what it says, and leaves a database to go on with.

use super::Place;
use snapbox::str;

#[test]
fn the_demo_loads_dies_recovers_answers_and_forgets() {
    let place = Place::new();
    place.run("demo here").success().stderr_eq("").stdout_eq(str![[r#"
The Cargo.lock of rust-lang/cargo, 2014 to 2026: 11248 updates (package, version, time, +1 or -1).

1. Load it, every commit durable, and kill the process in the middle.
  $ dbtool load here/db cargo-lock - --ack --batch 100
  SIGKILL after 5600 acknowledged rows, with 24 more under way.

2. Open it again, and go on where the last durable commit ended.
  5600 rows are there: all that was acknowledged, none by half.
  $ dbtool load here/db cargo-lock here/cargo-lock.jsonl.zst --resume
  11248 rows are durable, upper 1787319082.

3. Compare its past with what git says, by count and SHA-256.
  64 of 64 times agree with the git objects of their commits.

4. Which versions were locked on 2019-03-01?
  $ dbtool scan here/db cargo-lock --as-of 1551398400
  None: the change of 2017-10-19 took the file out of the repository, that of 2023-04-15 brought it back.
  $ dbtool scan here/db cargo-lock --as-of 1499894226
  On 2017-07-12 there were 102, as git says too, among them:
    cargo    0.21.0
    curl     0.4.7
    git2     0.6.6
    libc     0.2.25
    semver   0.7.0
    serde    1.0.9
    url      1.5.1

5. What changed in 2024?
  228 versions went and 265 came: 221 packages moved, 38 are new, 6 are gone. Among them:
    cargo    0.78.0 -> 0.86.0
    clap     4.4.11 -> 4.5.20
    curl     0.4.44 -> 0.4.46
    git2     0.18.1 -> 0.19.0
    libc     0.2.151 -> 0.2.158
    semver   1.0.20 -> 1.0.23
    serde    1.0.193 -> 1.0.204
    url      2.5.0 -> 2.5.2

6. Forget what was before 2024-01-01.
  $ dbtool compact here/db cargo-lock --below 1704067200
  11248 -> 6850 updates, [..] -> [..]: [..] won.
  The 31 times since then still agree with git.
  2019-03-01 now answers: as-of 1551398400 of collection 'cargo-lock' is before since 1704067200 (history below it was compacted); readable window is 1704067200..1787319082

7. Verify every byte.
  $ dbtool verify here/db --full
  Clean: [..]

Done in [..] s. Go on with:
  $ dbtool info here/db
  $ dbtool get here/db cargo-lock serde
  $ dbtool scan here/db cargo-lock --prefix gix- --format table
  $ dbtool dump here/db > dump.jsonl

"#]]);
    place.run("verify here/db --full -q").success();
    place.run("get here/db cargo-lock serde --as-of 1735689599").success().stdout_eq(str![[r#"
{"key":"serde","val":"1.0.204 registry+https://github.com/rust-lang/crates.io-index","ts":1735689599,"diff":1}

"#]]);
}
