//! The daemon as its owner runs it, between a real Prometheus and moto in the place of AWS.

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use setpoint::metric::Sources;
use setpoint::metric::prometheus::Settings;
use setpoint::observation::Measurement;
use setpoint::policy::Source;
use support::{Moto, Prometheus};

/// The longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Five intervals of the daemon below.
const A_WHILE: Duration = Duration::from_secs(10);

/// An exporter whose page the test writes.
struct Exporter {
    address: SocketAddr,
    page: Arc<Mutex<String>>,
}

impl Exporter {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let page = Arc::new(Mutex::new(String::new()));
        let served = page.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let page = served.lock().expect("no panic").clone();
                // A scraper that hangs up early comes back by itself.
                let _ = serve(stream, &page);
            }
        });
        Self { address, page }
    }

    /// Shows one CPU series for each of `values`.
    fn shows(&self, values: &[f64]) {
        let mut page = String::from("# TYPE cpu gauge\n");
        for (instance, value) in values.iter().enumerate() {
            writeln!(page, "cpu{{instance=\"{instance}\"}} {value}").expect("a string grows");
        }
        *self.page.lock().expect("no panic") = page;
    }
}

fn serve(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    let length = page.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n")?;
    write!(stream, "Connection: close\r\n\r\n{page}")
}

/// `setpoint run`, killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(prometheus: &str, aws: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.expect("a free port");
        let config = folder.path().join("setpoint.toml");
        std::fs::write(&config, configuration(prometheus, aws, address)).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_setpoint"))
            .args(["run", "--config"])
            .arg(&config)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        Self { child, address, _folder: folder }
    }

    /// The body of `/api/v1/policies/web`; empty while the daemon does not answer.
    fn policy(&self) -> String {
        let answer = TcpStream::connect(self.address).and_then(|mut stream| {
            write!(stream, "GET /api/v1/policies/web HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        answer.ok().and_then(|answer| answer.split_once("\r\n\r\n").map(|(_, body)| body.into())).unwrap_or_default()
    }

    /// Waits until the policy's page says `fragment`.
    fn says(&self, fragment: &str) {
        within(PATIENCE, &format!("{fragment} in /api/v1/policies/web"), || self.policy().contains(fragment));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(prometheus: &str, aws: &str, listen: SocketAddr) -> String {
    format!(
        r#"
interval = "2s"
[prometheus]
url = "{prometheus}"
timeout = "1900ms"
[aws]
region = "us-east-1"
endpoint_url = "{aws}"
timeout = "1900ms"
[http]
listen = "{listen}"
[[policy]]
name = "web"
asg = "web"
mode = "active"
min = 2
max = 10
warm_up = "1s"
controller = {{ kind = "pid", kd = "0s" }}
stabilization = {{ in = "4s", out = "0s" }}
cooldown = {{ in = "2s", out = "0s" }}
[[policy.metric]]
name = "cpu"
kind = "utilization"
query = "cpu"
target = 0.70
max_age = "10s"
"#
    )
}

fn within(patience: Duration, what: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !seen() {
        assert!(Instant::now() < deadline, "never seen: {what}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn cpu_at_90_on_four_makes_six_and_no_bad_data_removes_any() {
    let Some(moto) = Moto::start_with_refreshes() else { return };
    let exporter = Exporter::start();
    exporter.shows(&[0.9]);
    let Some(mut prometheus) = Prometheus::start(&[exporter.address], Duration::from_secs(1)) else { return };
    prometheus.wait_for("cpu");
    moto.create_group("web", 2, 4, 10);
    let daemon = Daemon::start(&prometheus.url(), &moto.url());
    within(PATIENCE, "a desired capacity of 6", || moto.desired("web") == 6);

    // Each kind of bad data in turn, for longer than the stabilization window and every cooldown.
    exporter.shows(&[f64::NAN]);
    daemon.says("not-finite");
    hold(&moto);
    exporter.shows(&[0.1, 0.1]);
    daemon.says("many-series");
    hold(&moto);
    exporter.shows(&[]);
    daemon.says("no-data");
    hold(&moto);
    prometheus.kill();
    daemon.says("unreachable");
    hold(&moto);

    // And the proof that nothing else stood in the way.
    exporter.shows(&[0.1]);
    prometheus.restart();
    within(PATIENCE, "a scale-in on good data", || moto.desired("web") < 6);
}

#[test]
fn the_series_of_instances_are_told_apart_by_their_label() {
    let exporter = Exporter::start();
    exporter.shows(&[0.25, f64::NAN, 0.75]);
    let Some(mut prometheus) = Prometheus::start(&[exporter.address], Duration::from_secs(1)) else { return };
    prometheus.wait_for("cpu");
    let settings = Settings {
        url: prometheus.url(),
        timeout: PATIENCE,
        headers: Vec::new(),
        credentials: None,
        ca_file: None,
        client_certificate: None,
    };
    let sources = Sources::new(Some(&settings)).expect("sources");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let read = |query: &str, label: &str| {
        let source = Source::Prometheus { query: query.into(), per_instance: Some(label.into()) };
        runtime.block_on(sources.read(&source, Timestamp::now()))
    };
    // Prometheus keeps `instance` for the address that it scrapes.
    let Measurement::Instances { mean, reporting, age } = read("cpu * 2", "exported_instance").measurement else {
        panic!("{:?}", read("cpu * 2", "exported_instance"));
    };
    assert_eq!((mean, reporting), (1.0, 2));
    assert!(age.is_some_and(|age| age < PATIENCE), "{age:?}");
    assert_eq!(read("cpu", "instance").measurement, Measurement::ManySeries { count: 3 });
    assert_eq!(read("avg(cpu)", "instance").detail.as_deref(), Some("a series has no label \"instance\""));
    assert_eq!(read("scalar(cpu)", "instance").measurement.label(), "wrong-type");
    assert_eq!(read("cpu > 2", "exported_instance").measurement, Measurement::NoData);
}

fn hold(moto: &Moto) {
    let end = Instant::now() + A_WHILE;
    while Instant::now() < end {
        assert_eq!(moto.desired("web"), 6);
        sleep(Duration::from_millis(200));
    }
}
