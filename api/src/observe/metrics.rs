//! What a database does and is, for the crate `metrics`.

use crate::{DbEvent, EventListener, Stats};
use ::metrics::{counter, gauge, histogram};

/// A listener that counts and times every [`Event`]: the counter `datestone_events_total` with the
/// label `event`; the histograms `datestone_flush_seconds`, `datestone_compaction_seconds` (label
/// `reason`) and `datestone_stall_seconds` (label `reason`). With [`record_stats`] come the sizes and
/// totals.
///
/// ```
/// use datestone::{Datestone, Options, observe};
/// # let dir = tempfile::tempdir().unwrap();
/// let options = Options { on_event: Some(observe::metrics()), ..Options::default() };
/// let db = Datestone::open_with(dir.path(), options)?;
/// # Ok::<(), datestone::Error>(())
/// ```
#[must_use]
pub fn metrics() -> EventListener {
    EventListener::new(emit)
}

fn emit(event: &DbEvent) {
    counter!("datestone_events_total", "event" => event.name()).increment(1);
    match event {
        DbEvent::FlushFinished { duration, .. } => {
            histogram!("datestone_flush_seconds").record(duration.as_secs_f64());
        }
        DbEvent::CompactionFinished { reason, duration, .. } => {
            histogram!("datestone_compaction_seconds", "reason" => reason.name())
                .record(duration.as_secs_f64());
        }
        DbEvent::Stalled { reason, duration } => {
            histogram!("datestone_stall_seconds", "reason" => reason.name())
                .record(duration.as_secs_f64());
        }
        _ => {}
    }
}

/// Records the figures of [`Datestone::stats`](crate::Datestone::stats): what was done since the
/// database was opened as counters (`datestone_commits_total`, `datestone_updates_total`, ..), what there
/// is as gauges (`datestone_memtable_bytes`, `datestone_segment_bytes`, `datestone_wal_bytes`, ..). To be
/// called whenever figures are gathered.
///
/// ```
/// use datestone::{Datestone, observe};
/// # let dir = tempfile::tempdir().unwrap();
/// let db = Datestone::open(dir.path())?;
/// observe::record_stats(&db.stats());
/// # Ok::<(), datestone::Error>(())
/// ```
pub fn record_stats(stats: &Stats) {
    let counts = &stats.counts;
    counter!("datestone_commits_total").absolute(counts.commits);
    counter!("datestone_updates_total").absolute(counts.updates);
    counter!("datestone_flushes_total").absolute(counts.flushes);
    counter!("datestone_flush_bytes_total").absolute(counts.flush_bytes);
    counter!("datestone_compactions_total").absolute(counts.compactions);
    counter!("datestone_compaction_read_bytes_total").absolute(counts.compaction_read_bytes);
    counter!("datestone_compaction_write_bytes_total").absolute(counts.compaction_write_bytes);
    counter!("datestone_scrubbed_bytes_total").absolute(counts.scrubbed_bytes);
    counter!("datestone_scrub_passes_total").absolute(counts.scrub_passes);
    counter!("datestone_scrub_damaged_total").absolute(counts.scrub_damaged);
    counter!("datestone_stalls_total").absolute(counts.stalls);
    counter!("datestone_stall_microseconds_total").absolute(counts.stall_micros);
    counter!("datestone_wal_syncs_total").absolute(stats.wal_syncs);
    for (name, value) in [
        ("datestone_memtable_bytes", stats.memtable_bytes),
        ("datestone_frozen_memtables", stats.frozen_memtables),
        ("datestone_segment_bytes", stats.segment_bytes),
        ("datestone_segments", stats.segments),
        ("datestone_wal_bytes", stats.wal_bytes),
        ("datestone_wal_files", stats.wal_files),
        ("datestone_last_seqno", stats.last_seqno),
        ("datestone_durable_seqno", stats.durable_seqno),
        ("datestone_flushed_seqno", stats.flushed_seqno),
    ] {
        gauge!(name).set(value as f64);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Datestone, Options, observe};
    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
        Recorder, SharedString, Unit,
    };
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    /// Sends each change as `name value`, labels included in the name.
    struct Sheet(Sender<(String, f64)>);

    struct Cell(String, Sender<(String, f64)>);

    impl Cell {
        fn new(key: &Key, sheet: &Sheet) -> Arc<Self> {
            let labels = key.labels().map(|label| format!("{{{}}}", label.value()));
            let name = std::iter::once(key.name().to_owned()).chain(labels).collect();
            Arc::new(Self(name, sheet.0.clone()))
        }
        fn put(&self, value: f64) {
            self.1.send((self.0.clone(), value)).unwrap();
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, value: u64) {
            self.put(value as f64);
        }
        fn absolute(&self, value: u64) {
            self.put(value as f64);
        }
    }

    impl GaugeFn for Cell {
        fn increment(&self, value: f64) {
            self.put(value);
        }
        fn decrement(&self, value: f64) {
            self.put(-value);
        }
        fn set(&self, value: f64) {
            self.put(value);
        }
    }

    impl HistogramFn for Cell {
        fn record(&self, value: f64) {
            self.put(value);
        }
    }

    impl Recorder for Sheet {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Cell::new(key, self))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Cell::new(key, self))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Cell::new(key, self))
        }
    }

    #[test]
    fn events_are_counted_and_timed_and_figures_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, changes) = channel();
        ::metrics::with_local_recorder(&Sheet(sender), || {
            let options = Options {
                background_threads: 0,
                on_event: Some(observe::metrics()),
                ..Options::default()
            };
            let db = Datestone::open_with(dir.path(), options).unwrap();
            let set = db.typed::<u64, ()>("set").unwrap();
            set.append([(&1, &(), 0, 1)]).unwrap();
            db.flush().unwrap();
            observe::record_stats(&db.stats());
        });
        let changes: Vec<(String, f64)> = changes.try_iter().collect();
        let of = |name: &str| changes.iter().find(|change| change.0 == name).map(|change| change.1);
        assert_eq!(of("datestone_events_total{flush_finished}"), Some(1.0), "{changes:?}");
        assert!(of("datestone_flush_seconds").is_some(), "{changes:?}");
        assert_eq!(of("datestone_updates_total"), Some(1.0));
        assert_eq!(of("datestone_flushes_total"), Some(1.0));
        assert!(of("datestone_segment_bytes").is_some_and(|bytes| bytes > 0.0));
    }
}
