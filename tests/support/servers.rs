//! Real servers: a Prometheus from the Debian package, and moto, which plays AWS.
//!
//! What is not installed is fetched into `target/servers`, without root, once. Where that is not possible, the test
//! that asked is left out and says so, unless `SETPOINT_REQUIRE_SERVERS=1`. Calls block, so they are for the test's
//! own thread.

use std::env;
use std::fs::{self, File};
use std::io::{Write, stderr};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{current, sleep};
use std::time::{Duration, Instant};

use super::http;

/// The moto that the tests were written against.
const MOTO: &str = "moto[server]==5.2.5";

/// The asker of questions that the tests were written against.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The checks of accessibility (axe 4.4.3), as a package for the same Python.
const AXE: &str = "axe-core-python==0.1.0";

/// Copies the script that the package holds.
const COPY_AXE: &str = "import axe_core_python, os, shutil, sys
shutil.copy(os.path.join(os.path.dirname(axe_core_python.__file__), 'axe.min.js'), sys.argv[1])";

/// The longest that one step of fetching a server may take.
const FETCHING: Duration = Duration::from_mins(5);

/// The longest that a server may take to start on a busy machine.
const STARTING: Duration = Duration::from_mins(1);

/// How often a wait looks.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How often another port is tried when somebody else took the one that was free.
const PORTS: usize = 3;

/// Serves moto single-threaded, because its stock server is not atomic, and says on which port. It has no
/// `DescribeInstanceRefreshes`, without which nothing is ever removed; with an argument, there are none.
const SERVE_MOTO: &str = r#"
import io, sys
from werkzeug.serving import make_server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
moto = DomainDispatcherApplication(create_backend_app)
name = b"DescribeInstanceRefreshes"
none = b"<%sResponse><%sResult><InstanceRefreshes/></%sResult></%sResponse>" % (name, name, name, name)
def with_refreshes(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if b"Action=" + name in body:
        start_response("200 OK", [("Content-Type", "text/xml")])
        return [none]
    environ["wsgi.input"] = io.BytesIO(body)
    return moto(environ, start_response)
server = make_server("127.0.0.1", 0, with_refreshes if len(sys.argv) > 1 else moto, threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A moto of the test's own; killed when dropped.
pub struct Moto {
    address: SocketAddr,
    _process: Process,
}

impl Moto {
    /// The region that [`Moto::create_group`] creates groups in.
    pub const REGION: &str = "us-east-1";

    /// Starts a moto. `None`: the test is left out.
    pub fn start() -> Option<Self> {
        or_leave_out(python_with_moto().and_then(|python| Self::run(&python, &[])))
    }

    /// Starts a moto that knows of instance refreshes, and has none. `None`: the test is left out.
    pub fn start_with_refreshes() -> Option<Self> {
        or_leave_out(python_with_moto().and_then(|python| Self::run(&python, &["refreshes"])))
    }

    /// Where it answers, as an endpoint URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a group of `desired` instances, which are in service at once.
    pub fn create_group(&self, name: &str, min: u32, desired: u32, max: u32) {
        let [min, desired, max] = [min, desired, max].map(|size| size.to_string());
        self.call(
            "autoscaling",
            &[
                ("Action", "CreateAutoScalingGroup"),
                ("AutoScalingGroupName", name),
                ("LaunchTemplate.LaunchTemplateName", "test"),
                ("MinSize", &min),
                ("DesiredCapacity", &desired),
                ("MaxSize", &max),
                ("AvailabilityZones.member.1", "us-east-1a"),
            ],
        );
    }

    /// The desired capacity of a group that exists.
    pub fn desired(&self, name: &str) -> u32 {
        let form = [("Action", "DescribeAutoScalingGroups"), ("AutoScalingGroupNames.member.1", name)];
        let answer = self.call("autoscaling", &form);
        let desired = answer.split("<DesiredCapacity>").nth(1).and_then(|rest| rest.split('<').next());
        desired.and_then(|desired| desired.parse().ok()).unwrap_or_else(|| panic!("moto has no group {name}: {answer}"))
    }

    /// The body of the answer to any call of a service of AWS, which must succeed.
    pub fn call(&self, service: &str, form: &[(&str, &str)]) -> String {
        let scope = format!("Credential=test/20260101/{}/{service}/aws4_request", Self::REGION);
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let (status, body) = http::post(self.address, &authorization, form).expect("moto answers");
        assert_eq!(status, 200, "moto on {form:?}: {body}");
        body
    }

    fn run(python: &Path, arguments: &[&str]) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let said = directory.path().join("port");
        let stdout = File::create(&said).map_err(|error| error.to_string())?;
        let mut process = Process::spawn(Command::new(python).args(["-c", SERVE_MOTO]).args(arguments).stdout(stdout))?;
        let port = || fs::read_to_string(&said).ok()?.strip_suffix('\n')?.parse().ok();
        let port = process.wait_for(port)?;
        let moto = Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), _process: process };
        moto.call(
            "ec2",
            &[
                ("Action", "CreateLaunchTemplate"),
                ("LaunchTemplateName", "test"),
                ("LaunchTemplateData.ImageId", "ami-12345678"),
                ("LaunchTemplateData.InstanceType", "t3.micro"),
            ],
        );
        Ok(moto)
    }
}

/// A Prometheus of the test's own; killed when dropped.
pub struct Prometheus {
    binary: PathBuf,
    address: SocketAddr,
    directory: tempfile::TempDir,
    process: Option<Process>,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `/metrics` of the targets. `None`: the test is left out.
    ///
    /// It finds its targets about 5 s after its start, whatever the interval.
    pub fn start(scrape_targets: &[SocketAddr], scrape_interval: Duration) -> Option<Self> {
        let start = |binary| Self::try_start(binary, scrape_targets, scrape_interval);
        or_leave_out(prometheus().and_then(start))
    }

    /// Starts a Prometheus that scrapes nothing and remembers these samples, as `OpenMetrics` with times. `None`: the
    /// test is left out.
    pub fn with_past(samples: &str) -> Option<Self> {
        or_leave_out(prometheus().and_then(|binary| Self::try_with_past(binary, samples)))
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it with a signal that it cannot handle.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the same port and with its data.
    pub fn restart(&mut self) {
        self.kill();
        self.run().expect("Prometheus starts again");
    }

    /// Waits until an instant query has a result.
    pub fn wait_for(&mut self, query: &str) {
        let (address, path) = (self.address, format!("/api/v1/query?query={}", http::encode(query)));
        let answered = || {
            let (status, body) = http::get(address, &path).ok()?;
            (status == 200 && !body.contains(r#""result":[]"#)).then_some(())
        };
        let process = self.process.as_mut().expect("Prometheus is running");
        process.wait_for(answered).unwrap_or_else(|why| panic!("{query} has no result: {why}"));
    }

    fn try_start(binary: PathBuf, targets: &[SocketAddr], interval: Duration) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
        let (interval, targets) = (interval.as_millis(), targets.join(", "));
        let config = format!(
            "global: {{ scrape_interval: {interval}ms, scrape_timeout: {interval}ms }}\n\
             scrape_configs: [ {{ job_name: test, static_configs: [ {{ targets: [ {targets} ] }} ] }} ]\n"
        );
        fs::write(directory.path().join("prometheus.yml"), config).map_err(|error| error.to_string())?;
        let mut prometheus = Self { binary, address: free_port()?, directory, process: None };
        for _ in 1..PORTS {
            if prometheus.run().is_ok() {
                return Ok(prometheus);
            }
            prometheus.address = free_port()?;
        }
        prometheus.run().map(|()| prometheus)
    }

    fn try_with_past(binary: PathBuf, samples: &str) -> Result<Self, String> {
        let mut prometheus = Self::try_start(binary, &[], Duration::from_mins(1))?;
        prometheus.kill();
        let folder = prometheus.directory.path();
        let (file, data) = (folder.join("past.txt"), folder.join("data"));
        fs::write(&file, samples).map_err(|error| error.to_string())?;
        let promtool = prometheus.binary.with_file_name("promtool");
        let made = ["tsdb", "create-blocks-from", "openmetrics"];
        run(Command::new(promtool).args(made).args(["--max-block-duration=400h", "--quiet"]).args([&file, &data]))?;
        prometheus.run().map(|()| prometheus)
    }

    fn run(&mut self) -> Result<(), String> {
        let directory = self.directory.path().display();
        let mut command = Command::new(&self.binary);
        command.arg(format!("--config.file={directory}/prometheus.yml"));
        command.arg(format!("--storage.tsdb.path={directory}/data"));
        command.arg(format!("--web.listen-address={}", self.address));
        // What a test has it remember may be old.
        command.arg("--storage.tsdb.retention.time=10y");
        let mut process = Process::spawn(command.arg("--log.level=error"))?;
        let ready = || (http::get(self.address, "/-/ready").ok()?.0 == 200).then_some(());
        process.wait_for(ready)?;
        self.process = Some(process);
        Ok(())
    }
}

/// A child process; killed when dropped.
pub(super) struct Process(pub(super) Child);

impl Process {
    fn spawn(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Self).map_err(|error| format!("{}: {error}", command.get_program().display()))
    }

    /// Waits until `look` sees something, for as long as [`STARTING`] and the process last.
    fn wait_for<T>(&mut self, look: impl Fn() -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + STARTING;
        loop {
            if let Some(seen) = look() {
                return Ok(seen);
            }
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("the server ended with {status}"));
            }
            if Instant::now() >= deadline {
                return Err(format!("the server did not answer within {STARTING:?}"));
            }
            sleep(TICK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| error.to_string())
}

/// What was found, or a line that names the test that is left out and why. Written around libtest, which shows the
/// output of failed tests only.
pub fn or_leave_out<T>(server: Result<T, String>) -> Option<T> {
    let why = match server {
        Ok(server) => return Some(server),
        Err(why) => why,
    };
    assert!(env::var("SETPOINT_REQUIRE_SERVERS").as_deref() != Ok("1"), "a required server is missing: {why}");
    let line = format!("left out: {}: {why}\n", current().name().unwrap_or("a test"));
    stderr().write_all(line.as_bytes()).expect("standard error is open");
    None
}

/// A Prometheus on the path, or else one from its package.
pub fn prometheus() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(installed) = env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|file| file.is_file())
    {
        return Ok(installed);
    }
    fetched("prometheus", fetch_prometheus).map(|folder| folder.join("usr/bin/prometheus"))
}

fn fetch_prometheus(folder: &Path) -> Result<(), String> {
    let download = |options: &[String]| {
        run(Command::new("apt-get").args(options).args(["download", "prometheus"]).current_dir(folder))
    };
    download(&[]).or_else(|_| {
        let lists = private_apt(folder)?;
        run(Command::new("apt-get").args(&lists).arg("update"))?;
        download(&lists)?;
        fs::remove_dir_all(folder.join("apt")).map_err(|error| error.to_string())
    })?;
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let package = files.flatten().map(|file| file.path()).find(|file| file.extension().is_some_and(|end| end == "deb"));
    let package = package.ok_or("apt-get downloaded no package")?;
    run(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
    fs::remove_file(package).map_err(|error| error.to_string())?;
    run(Command::new(folder.join("usr/bin/prometheus")).arg("--version"))
}

/// Options that make apt keep its lists here, where the machine has none and we may not write.
fn private_apt(folder: &Path) -> Result<Vec<String>, String> {
    let folder = folder.join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(part)).map_err(|error| error.to_string())?;
    }
    let folder = folder.display();
    Ok(vec![
        format!("-oDir::State::lists={folder}/lists"),
        format!("-oDir::Cache={folder}/cache"),
        "-oAPT::Sandbox::User=root".to_owned(),
    ])
}

fn python_with_moto() -> Result<PathBuf, String> {
    package("moto", MOTO).map(|folder| folder.join("bin/python"))
}

/// A Python with Schemathesis, which asks a server whatever its own description allows. `None`: the test is left out.
pub fn schemathesis() -> Option<PathBuf> {
    or_leave_out(package("schemathesis", SCHEMATHESIS).map(|folder| folder.join("bin/python")))
}

/// A Python environment with this package.
fn package(name: &str, package: &str) -> Result<PathBuf, String> {
    // Named for the version, so that another one is fetched when the tests ask for it.
    let version = package.rsplit('=').next().unwrap_or_default();
    fetched(&format!("{name}-{version}"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", package]))
    })
}

/// The checks of accessibility, as a script that a page runs. `None`: they are left out.
pub fn axe() -> Option<String> {
    let version = AXE.rsplit('=').next().unwrap_or_default();
    let script = fetched(&format!("axe-{version}"), fetch_axe)
        .and_then(|folder| fs::read_to_string(folder.join("axe.min.js")).map_err(|error| error.to_string()));
    or_leave_out(script)
}

fn fetch_axe(folder: &Path) -> Result<(), String> {
    let python = folder.join("bin/python");
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-deps", AXE]))?;
    run(Command::new(&python).args(["-c", COPY_AXE]).arg(folder.join("axe.min.js")))
}

/// The folder of that name in `target/servers`, filled by `fetch` when it is not there. The lock keeps test processes
/// from fetching the same twice; the renaming keeps half a server from being taken for one.
fn fetched(name: &str, fetch: impl Fn(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("the target folder has no parent")?;
    let servers = target.join("servers");
    let (folder, partial) = (servers.join(name), servers.join(format!("{name}.partial")));
    let in_place = |error: std::io::Error| format!("{}: {error}", servers.display());
    fs::create_dir_all(&servers).map_err(in_place)?;
    let lock = File::create(servers.join(format!("{name}.lock"))).map_err(in_place)?;
    lock.lock().map_err(in_place)?;
    if folder.exists() {
        return Ok(folder);
    }
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(in_place)?;
    }
    fs::create_dir(&partial).map_err(in_place)?;
    fetch(&partial)?;
    fs::rename(&partial, &folder).map_err(in_place)?;
    Ok(folder)
}

/// Runs a command to its end, within [`FETCHING`]; the error is the last thing that it said.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let said = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let output = || said.reopen().map_err(|error| error.to_string());
    let child = command.stdin(Stdio::null()).stdout(output()?).stderr(output()?).spawn();
    let mut process = Process(child.map_err(|error| format!("{program}: {error}"))?);
    let deadline = Instant::now() + FETCHING;
    while Instant::now() < deadline {
        match process.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let text = fs::read_to_string(said.path()).unwrap_or_default();
                return Err(format!("{program} ended with {status}: {}", text.lines().last().unwrap_or_default()));
            }
            Ok(None) => sleep(TICK),
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    Err(format!("{program} took longer than {FETCHING:?}"))
}
