//! The same work on all cores. The results do not depend on how many there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `work` on every one of `tasks`, on all cores; results in the order of the tasks. `None` for what had not begun when
/// `stop` was set.
pub(super) fn at_once<T: Send, R: Send>(
    tasks: Vec<T>,
    stop: &AtomicBool,
    work: impl Fn(T) -> R + Sync,
) -> Vec<Option<R>> {
    let mut results: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    let queue = Mutex::new(tasks.into_iter().zip(&mut results));
    // Only taking a task is done under the lock, and that does not panic.
    let next = || queue.lock().ok().filter(|_| !stop.load(Ordering::Relaxed)).and_then(|mut queue| queue.next());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((task, result)) = next() {
                    *result = Some(work(task));
                }
            });
        }
    });
    drop(queue);
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        let squares = at_once((0..100_u32).collect(), &AtomicBool::new(false), |n| n * n);
        assert_eq!(squares, (0..100_u32).map(|n| Some(n * n)).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_begins_after_the_stop() {
        let stop = AtomicBool::new(true);
        assert_eq!(at_once(vec![1, 2], &stop, |n| n), [None, None]);
    }
}
