#[cfg(not(datestone_loom))]
mod real {
    use super::super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Runs `work` on as many threads; the scope waits for all of them.
    fn on_threads(count: usize, work: impl Fn(usize) + Sync) {
        std::thread::scope(|scope| {
            for index in 0..count {
                let work = &work;
                scope.spawn(move || work(index));
            }
        });
    }

    #[test]
    fn everybody_gets_the_result_of_its_own_item_and_groups_do_not_overlap() {
        let commit = GroupCommit::new(GroupLimits::default());
        let (is_led, led, groups) =
            (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        on_threads(8, |thread| {
            for round in 0..500 {
                let item = thread * 1_000 + round;
                let result = commit.submit(item, 1, |items: Vec<usize>| {
                    assert!(!is_led.swap(true, Ordering::SeqCst), "I1");
                    led.fetch_add(items.len(), Ordering::SeqCst);
                    groups.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    is_led.store(false, Ordering::SeqCst);
                    items.into_iter().map(|item| item * 2).collect()
                });
                assert_eq!(result, Ok(item * 2));
            }
        });
        assert_eq!(led.load(Ordering::SeqCst), 4_000);
        assert!(groups.load(Ordering::SeqCst) <= 4_000);
    }

    /// Goal: I2 and the limits. Method: the first leader holds on until all others have gathered.
    #[test]
    fn groups_are_bounded_and_keep_the_order() {
        for (limits, weight, want) in [
            (GroupLimits { items_max: 3, weight_max: 100 }, 1, 3),
            (GroupLimits { items_max: 100, weight_max: 20 }, 10, 2),
            (GroupLimits { items_max: 100, weight_max: 20 }, 50, 1),
        ] {
            let commit = GroupCommit::new(limits);
            let sizes = Mutex::new(Vec::new());
            let gathered = || {
                let state = commit.state.lock();
                state.gathering.iter().map(|open| open.items.len()).sum::<usize>()
            };
            on_threads(7, |thread| {
                let result = commit.submit(thread, weight, |items| {
                    let is_first = sizes.lock().is_empty();
                    sizes.lock().push(items.len());
                    let held = 7 - items.len();
                    while is_first && gathered() < held {
                        std::thread::yield_now();
                    }
                    items
                });
                assert_eq!(result, Ok(thread));
            });
            let sizes = sizes.lock();
            assert_eq!(sizes.iter().sum::<usize>(), 7);
            assert!(sizes.iter().all(|size| *size <= want), "{sizes:?}");
            // All but the first and the last group were full when they were led.
            let inner = sizes.get(1..sizes.len() - 1).unwrap();
            assert!(inner.iter().all(|size| *size == want), "{sizes:?}");
        }
    }

    #[test]
    fn a_panic_of_the_leader_hangs_nobody() {
        let commit = GroupCommit::new(GroupLimits::default());
        let (panicked, told, served) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        on_threads(6, |thread| {
            for round in 0..50 {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    commit.submit(thread, 1, |items| {
                        std::thread::yield_now();
                        assert!(round % 5 != 0, "planned");
                        items
                    })
                }));
                match outcome {
                    Err(_) => panicked.fetch_add(1, Ordering::SeqCst),
                    Ok(Err(LeaderPanicked)) => told.fetch_add(1, Ordering::SeqCst),
                    Ok(Ok(result)) => {
                        assert_eq!(result, thread);
                        served.fetch_add(1, Ordering::SeqCst)
                    }
                };
            }
        });
        let count = [&panicked, &told, &served].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(count.iter().sum::<usize>(), 300);
        assert!(count[0] > 0 && count[2] > 0, "{count:?}");
        assert_eq!(commit.submit(9, 1, |items| items), Ok(9));
    }

    #[test]
    fn too_few_results_are_noticed() {
        let commit: GroupCommit<u8, u8> = GroupCommit::new(GroupLimits::default());
        assert_eq!(commit.submit(1, 1, |_| Vec::new()), Err(LeaderPanicked));
        assert_eq!(commit.submit(1, 1, |items| items), Ok(1));
    }
}

#[cfg(datestone_loom)]
mod model {
    use super::super::*;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::thread;

    /// Goal: I1 and I3 over every interleaving. Method: loom; a thread that is never woken is a
    /// deadlock, which loom reports.
    fn hand_over(threads: usize, expected: usize, limits: GroupLimits) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let commit = Arc::new(GroupCommit::new(limits));
            commit.state.lock().expected = expected;
            let (is_led, led) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let submit = |item: usize| {
                let (commit, is_led, led) =
                    (Arc::clone(&commit), Arc::clone(&is_led), Arc::clone(&led));
                move || {
                    let result = commit.submit(item, 1, |items| {
                        assert!(!is_led.swap(true, Ordering::SeqCst), "I1");
                        led.fetch_add(items.len(), Ordering::SeqCst);
                        is_led.store(false, Ordering::SeqCst);
                        items.into_iter().map(|item| item + 10).collect()
                    });
                    assert_eq!(result, Ok(item + 10));
                }
            };
            let others: Vec<_> = (1..threads).map(|item| thread::spawn(submit(item))).collect();
            submit(0)();
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(led.load(Ordering::SeqCst), threads);
            assert!(commit.state.lock().gathering.is_empty());
        });
    }

    #[test]
    fn two_threads_hand_over() {
        hand_over(2, 0, GroupLimits::default());
    }

    #[test]
    fn three_threads_hand_over() {
        hand_over(3, 0, GroupLimits::default());
    }

    /// The leader yields first, so that both others may be members of its group.
    #[test]
    fn one_of_three_threads_leads_for_all() {
        hand_over(3, 3, GroupLimits::default());
    }

    #[test]
    fn three_threads_with_groups_of_one_hand_over() {
        hand_over(3, 0, GroupLimits { items_max: 1, weight_max: 1 });
    }
}
