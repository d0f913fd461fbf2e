//! What the kernel says of this process, under the names that every client library gives.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Page;

/// Reads `/proc`; where there is none, or a number is missing, so is its metric.
#[derive(Debug)]
pub(super) struct Process;

/// Clock ticks a second, in `/proc/self/stat`: the kernel shows 100 on every architecture.
const TICKS: f64 = 100.0;
/// Bytes of a page: 4 KiB wherever Setpoint is built for.
const PAGE: f64 = 4096.0;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let cpu = field(&stat, 11).zip(field(&stat, 12)).map(|(user, system)| (user + system) / TICKS);
        page.counter::<0>("process_cpu_seconds_total", "User and system CPU time.", cpu.map(|seconds| ([], seconds)))?;
        let mut gauge = |name, help, value: Option<f64>| page.gauge::<0>(name, help, value.map(|value| ([], value)));
        gauge("process_resident_memory_bytes", "Resident memory.", field(&stat, 21).map(|pages| pages * PAGE))?;
        gauge("process_threads", "Threads.", field(&stat, 17))?;
        gauge("process_open_fds", "Open file descriptors.", count("/proc/self/fd"))?;
        let began = boot_time().zip(field(&stat, 19)).map(|(boot, ticks)| boot + ticks / TICKS);
        gauge("process_start_time_seconds", "When the process began.", began)
    }
}

/// The number at `index` after the program's name, which may hold spaces and ends with the last parenthesis.
fn field(stat: &str, index: usize) -> Option<f64> {
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(index)?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "no process has 53 bits of descriptors")]
fn count(folder: &str) -> Option<f64> {
    Some(fs::read_dir(folder).ok()?.count() as f64)
}

/// When the machine was started, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_moves_no_number() {
        let stat = "1 (a b) c) S 0 1 1 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 5 0 1234 999 77";
        let numbers = [11, 12, 17, 19, 21].map(|index| field(stat, index).unwrap());
        assert!(numbers.iter().zip([250.0, 50.0, 5.0, 1234.0, 77.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{numbers:?}");
    }
}
