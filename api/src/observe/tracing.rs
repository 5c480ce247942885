//! Events of the database as events of the crate `tracing`.

use crate::{DbEvent, Error, EventListener};
use ::tracing::{debug, info, warn};

/// A listener that emits every [`Event`] with the target `datestone`: what goes well at the level
/// `DEBUG` (compactions and raised sinces at `INFO`), pauses and failures at `WARN`. The message is the
/// event's [`name`](DbEvent::name); its figures are fields: bytes, counts, `duration_us` in
/// microseconds.
///
/// ```
/// use datestone::{Datestone, Options, observe};
/// # let dir = tempfile::tempdir().unwrap();
/// let options = Options { on_event: Some(observe::tracing()), ..Options::default() };
/// let db = Datestone::open_with(dir.path(), options)?;
/// # Ok::<(), datestone::Error>(())
/// ```
#[must_use]
pub fn tracing() -> EventListener {
    EventListener::new(emit)
}

fn emit(event: &DbEvent) {
    let name = event.name();
    match event {
        DbEvent::FlushStarted { bytes } => debug!(target: "datestone", bytes, "{name}"),
        DbEvent::FlushFinished { bytes, duration } => {
            let duration_us = micros(*duration);
            debug!(target: "datestone", bytes, duration_us, "{name}");
        }
        DbEvent::CompactionFinished {
            collection,
            reason,
            inputs,
            input_bytes,
            outputs,
            output_bytes,
            duration,
        } => {
            let (reason, duration_us) = (reason.name(), micros(*duration));
            info!(
                target: "datestone", collection, reason, inputs, input_bytes, outputs, output_bytes,
                duration_us, "{name}"
            );
        }
        DbEvent::Stalled { reason, duration } => {
            let (reason, duration_us) = (reason.name(), micros(*duration));
            warn!(target: "datestone", reason, duration_us, "{name}");
        }
        DbEvent::SinceAdvanced { collection, since } => {
            info!(target: "datestone", collection, %since, "{name}");
        }
        DbEvent::FlushFailed { error }
        | DbEvent::Damage { error }
        | DbEvent::BackgroundError { error } => failed(name, error),
        _ => debug!(target: "datestone", "{name}"),
    }
}

fn failed(name: &str, error: &Error) {
    warn!(target: "datestone", kind = error.kind().name(), %error, "{name}");
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::{Datestone, Options, observe};
    use ::tracing::field::{Field, Visit};
    use ::tracing::span::{Attributes, Id, Record};
    use ::tracing::{Event, Metadata, Subscriber};
    use std::fmt::Debug;
    use std::sync::mpsc::{Sender, channel};

    /// Sends each event as `LEVEL message field=value ..`.
    struct Recorder(Sender<String>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            match field.name() {
                "message" => self.0.insert_str(0, &format!("{value:?}")),
                name => self.0.push_str(&format!(" {name}={value:?}")),
            }
        }
    }

    impl Subscriber for Recorder {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "datestone"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            let level = event.metadata().level();
            self.0.send(format!("{level} {}", line.0)).unwrap();
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn events_come_with_their_figures() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, lines) = channel();
        ::tracing::subscriber::with_default(Recorder(sender), || {
            let options = Options {
                background_threads: 0,
                on_event: Some(observe::tracing()),
                ..Options::default()
            };
            let db = Datestone::open_with(dir.path(), options).unwrap();
            let set = db.typed::<u64, ()>("set").unwrap();
            for ts in 0..2 {
                set.append([(&ts, &(), ts, 1)]).unwrap();
                set.advance_upper(ts + 1).unwrap();
                db.flush().unwrap();
            }
            set.compact_below(1).unwrap();
            db.compact().unwrap();
        });
        let lines: Vec<String> = lines.try_iter().collect();
        let told = |start: &str| lines.iter().find(|line| line.starts_with(start)).is_some();
        assert!(told("DEBUG flush_started bytes="), "{lines:#?}");
        assert!(told("DEBUG flush_finished bytes="), "{lines:#?}");
        assert!(told("INFO since_advanced collection=\"set\" since=1"), "{lines:#?}");
        let merged = "INFO compaction_finished collection=\"set\" reason=\"explicit\" inputs=2 ";
        assert!(told(merged), "{lines:#?}");
    }
}
