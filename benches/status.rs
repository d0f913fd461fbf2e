//! What it takes to show a fleet of 10,000 policies: `cargo bench --bench status`. Goals: 50 ms and 20 MB for the status.

#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[path = "../tests/site/mod.rs"]
mod site;

use criterion::{Criterion, criterion_group, criterion_main};
use site::{Site, large};
use tokio::runtime::Builder;

const POLICIES: usize = 10_000;

fn status(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let site = runtime.block_on(Site::open(large(POLICIES)));
    let mut group = criterion.benchmark_group("10000 policies");
    for path in ["/api/v1/status", "/api/v1/policies", "/metrics", "/"] {
        let answer = || runtime.block_on(site.get(path));
        let mut length = 0;
        let memory = allocation_counter::measure(|| length = answer().body.len());
        println!(
            "{path}: {} kB, at most {} kB in memory with the asking client",
            length / 1000,
            memory.bytes_max / 1000
        );
        group.bench_function(path, |bencher| bencher.iter(answer));
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = status }
criterion_main!(benches);
