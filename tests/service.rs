//! The unit file in a real systemd, and the image as it is built and run.
//!
//! A test that needs root or a tool is left out where that is missing, and says so.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

use support::servers::or_leave_out;

const UNIT: &str = include_str!("../systemd/setpoint.service");

/// Nothing listens on port 1: every cycle ends in a hold, and that is a finished cycle too.
const CONFIGURATION: &str = r#"
interval = "1s"

[prometheus]
url = "http://127.0.0.1:1"
timeout = "500ms"

[aws]
region = "us-east-1"
endpoint_url = "http://127.0.0.1:1"

[[policy]]
name = "web"
asg = "web"
min = 2
max = 10

[[policy.metric]]
name = "cpu"
kind = "utilization"
query = "cpu"
target = 0.7
"#;

/// For the SDK, which would otherwise ask a metadata service that is not there.
const CREDENTIALS: &str = "AWS_ACCESS_KEY_ID=none\nAWS_SECRET_ACCESS_KEY=none\n";

/// Runs the trial once systemd is up, and nothing besides.
const TRIAL: &str = "[Unit]\nRequires=basic.target\nAfter=basic.target\n\
    [Service]\nType=oneshot\nExecStart=/bin/bash /trial.sh\n";

/// The unit as it is, but quick to notice and to restart.
const IMPATIENCE: &str = "[Service]\nWatchdogSec=5\nRestartSec=100ms\n";

/// Boots a systemd on this machine's own files; what it changes is gone with its mount namespace.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/changes" "$1/work" "$1/root"
cp --archive "$2/." "$1/changes"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
exec timeout --kill-after 10 300 systemd-nspawn --quiet --directory "$1/root" --boot --register=no --keep-unit \
    --private-network --machine "$4" --bind "$3:/results" systemd.unit=trial.service
"#;

#[test]
fn the_unit_is_sound_and_hardened() {
    if have(&["systemd-analyze"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("setpoint.service");
    // The check wants the program to be there, and Setpoint need not be installed here; any program will do.
    let program = env::current_exe().expect("this test's own path");
    write(&unit, &UNIT.replace("/usr/bin/setpoint", &program.display().to_string()));
    succeed(Command::new("systemd-analyze").arg("verify").arg(&unit));
    succeed(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=11"]).arg(&unit));
}

#[test]
fn the_unit_lives_in_a_real_systemd() {
    if have(&["root", "systemd-nspawn", "unshare"]).is_none() {
        return;
    }
    let seen = boot("unit", include_str!("service/trial.sh"), |root| {
        write(&root.join("etc/setpoint/setpoint.toml"), CONFIGURATION);
        write(&root.join("etc/default/setpoint"), CREDENTIALS);
        write(&root.join("etc/systemd/system/setpoint.service"), UNIT);
        write(&root.join("etc/systemd/system/setpoint.service.d/impatience.conf"), IMPATIENCE);
        copy(static_binary(), &root.join("usr/bin/setpoint"));
    });
    let check = |name, expected| seen.check(name, expected);

    // Type=notify: `start` returns when the first cycle is finished.
    check("start", "0");
    check("state", "active");
    // The range that systemd takes dynamic users from.
    let user: Option<u32> = seen.get("user").and_then(|user| user.parse().ok());
    assert!(
        user.is_some_and(|user| (61184..=65519).contains(&user)),
        "{user:?} is no dynamic user in\n{}",
        seen.context
    );
    check("capabilities", "0000000000000000");
    check("no_new_privileges", "1");
    check("system_call_filter", "2");
    check("own_user_namespace", "yes");
    check("root_is", "ro");
    check("state_directory", "700");
    check("reload", "0");
    check("reload_of_nonsense", "1");
    check("after_reloads", "active same process 0");
    check("after_hang", "active 1");
    check("watchdog", "1");
    check("stop", "inactive success 0");
    // 78 is not tried again.
    check("start_of_nonsense", "failed 78 0");
}

#[test]
fn a_newcomer_installs_upgrades_and_purges_the_package() {
    if have(&["root", "systemd-nspawn", "unshare", "dpkg", "cargo-deb"]).is_none() {
        return;
    }
    let seen = boot("package", include_str!("service/package.sh"), |root| {
        write(&root.join("own/setpoint.toml"), CONFIGURATION);
        write(&root.join("own/credentials"), CREDENTIALS);
        package("1", &root.join("packages/first.deb"));
        package("2", &root.join("packages/second.deb"));
    });
    let check = |name, expected| seen.check(name, expected);

    check("install", "0");
    // Nobody has said yet what to scale.
    check("after_install", "inactive disabled");
    check("check_of_what_is_shipped", "0");
    check("environment", "600 root");
    check("start", "0");
    check("status", "1");
    check("pause", "0");
    check("upgrade", "0");
    check("version", "0.1.0-2");
    check("after_upgrade", "active enabled");
    check("new_process", "yes");
    check("configuration", "kept");
    check("status_after_upgrade", "1");
    check("history", "1");
    check("after_removal", "inactive setpoint.toml");
    check("purge", "0");
    check("left", "");
}

#[test]
fn the_image_holds_the_binary_alone_and_runs() {
    if have(&["root", "buildah", "podman", "runc"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage(folder.path().to_owned());
    // The build stage needs a base image from the network; this folder stands in for what it leaves behind.
    let left_behind = folder.path().join("built");
    copy(static_binary(), &left_behind.join("source/target/release/setpoint"));
    let certificates = "etc/ssl/certs/ca-certificates.crt";
    copy(&Path::new("/").join(certificates), &left_behind.join(certificates));
    fs::create_dir_all(left_behind.join("usr/share")).expect("a folder");
    succeed(Command::new("cp").args(["--archive", "/usr/share/zoneinfo"]).arg(left_behind.join("usr/share")));

    let context = format!("build={}", left_behind.display());
    let build = ["build", "--isolation", "chroot", "--tag", "setpoint", "--build-context", &context];
    succeed(storage.command("buildah").args(build).arg(env!("CARGO_MANIFEST_DIR")));

    let container = succeed(storage.command("buildah").args(["from", "setpoint"]));
    let root = succeed(storage.command("buildah").args(["mount", &container]));
    let expected = ["etc/ssl/certs/ca-certificates.crt", "setpoint", "usr/share/zoneinfo/Europe/Berlin"];
    assert_eq!(files_except_zones(Path::new(&root)), BTreeSet::from(expected.map(String::from)));
    let facts = "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}";
    assert_eq!(
        succeed(storage.command("buildah").args(["inspect", "--type", "image", "--format", facts, "setpoint"])),
        "65532:65532 [/setpoint] [run --config /etc/setpoint/setpoint.toml]",
    );
    becomes_ready(&storage);
}

/// What a trial noted, and all that can be told of it where something is amiss.
struct Seen {
    notes: BTreeMap<String, String>,
    context: String,
}

impl Seen {
    fn get(&self, name: &str) -> Option<&str> {
        self.notes.get(name).map(String::as_str)
    }

    fn check(&self, name: &str, expected: &str) {
        assert_eq!(self.get(name), Some(expected), "{name} in\n{}", self.context);
    }
}

/// Boots a systemd of this name, whose only work is the script `trial`, with the files that `lay` puts below the root that it is given.
fn boot(name: &str, trial: &str, lay: impl FnOnce(&Path)) -> Seen {
    let folder = tempfile::tempdir().expect("a folder");
    let [mounts, files, results] = ["mounts", "files", "results"].map(|name| folder.path().join(name));
    fs::create_dir(&mounts).and_then(|()| fs::create_dir(&results)).expect("folders");
    lay(&files);
    write(&files.join("etc/systemd/system/trial.service"), TRIAL);
    write(&files.join("trial.sh"), trial);
    let boot = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-c", BOOT, "boot"])
        .args([&mounts, &files, &results])
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");

    let read = |name| fs::read_to_string(results.join(name)).unwrap_or_default();
    let text = read("seen");
    let notes = text.lines().filter_map(|line| line.split_once('='));
    Seen {
        notes: notes.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        context: format!("{text}\n{}\n{}\n{}", read("errors"), read("journal"), printed(&boot)),
    }
}

/// Makes the package of the binary that was built for the tests.
fn package(revision: &str, to: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    copy(static_binary(), &folder.path().join("release/setpoint"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/package");
    let mut command = Command::new(script);
    command
        .env("CARGO_TARGET_DIR", folder.path())
        .args(["--no-build", "--fast", "--deb-revision", revision, "--output"])
        .arg(to);
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    succeed(&mut command);
}

/// Runs the image read-only, without a capability and without a network, until it says that a cycle is finished.
fn becomes_ready(storage: &Storage) {
    let [configuration, credentials, notices] =
        ["setpoint.toml", "credentials", "notices"].map(|name| storage.0.join(name));
    write(&configuration, CONFIGURATION);
    write(&credentials, CREDENTIALS);
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o644)).expect("readable for any user");
    fs::create_dir(&notices).expect("a folder");
    let socket = UnixDatagram::bind(notices.join("socket")).expect("a socket");
    fs::set_permissions(notices.join("socket"), fs::Permissions::from_mode(0o777)).expect("writable for any user");
    socket.set_read_timeout(Some(Duration::from_mins(1))).expect("a deadline");

    let mut run = storage
        .command("podman")
        .args(["--cgroup-manager", "cgroupfs", "run", "--rm", "--name", "trial", "--runtime", "runc"])
        // The defaults ask for more than a container within a container may have.
        .args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"])
        .args(["--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"])
        .args(["--env", "NOTIFY_SOCKET=/notices/socket"])
        .arg(format!("--env-file={}", credentials.display()))
        .arg(format!("--volume={}:/etc/setpoint/setpoint.toml:ro", configuration.display()))
        .arg(format!("--volume={}:/notices", notices.display()))
        .arg("setpoint")
        .stdin(Stdio::null())
        .spawn()
        .expect("podman runs");
    let ready = await_ready(&socket);
    succeed(storage.command("podman").args(["--cgroup-manager", "cgroupfs", "stop", "--time", "30", "trial"]));
    let status = run.wait().expect("podman ends");
    assert!(ready, "no cycle was finished");
    assert!(status.success(), "the daemon did not stop cleanly: {status}");
}

/// Whether `READY=1` is among the first notices, each of which comes before the socket's deadline.
fn await_ready(socket: &UnixDatagram) -> bool {
    let mut notice = [0; 4096];
    (0..100).map_while(|_| socket.recv(&mut notice).ok().map(|length| is_ready(&notice[..length]))).any(|ready| ready)
}

fn is_ready(notice: &[u8]) -> bool {
    notice.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// A container storage of the test's own, in a folder.
struct Storage(PathBuf);

impl Storage {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--root").arg(self.0.join("storage")).arg("--runroot").arg(self.0.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    }
}

/// The names of all files below `root`; of the time zones only one, as their number is not ours to say.
fn files_except_zones(root: &Path) -> BTreeSet<String> {
    let listed = succeed(Command::new("find").arg(root).args(["-not", "-type", "d", "-printf", "%P\\n"]));
    let named = |name: &&str| !name.starts_with("usr/share/zoneinfo/") || name.ends_with("zoneinfo/Europe/Berlin");
    listed.lines().filter(named).map(String::from).collect()
}

/// The daemon linked statically, by the same flag as in the Dockerfile. Its dependencies are those of `cargo build`.
fn static_binary() -> &'static Path {
    static BUILT: OnceLock<()> = OnceLock::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_setpoint"));
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["rustc", "--locked", "--bin", "setpoint"]);
        build.args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] });
        build.args(["--", "-C", "target-feature=+crt-static", "-C", "strip=symbols"]);
        // What cargo told this test about its package would make build scripts run anew.
        for (name, _) in env::vars() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start)) {
                build.env_remove(name);
            }
        }
        succeed(&mut build);
    });
    binary
}

/// `None`, having said so, where the machine lacks something.
fn have(needs: &[&str]) -> Option<()> {
    or_leave_out(needs.iter().find(|need| !available(need)).map_or(Ok(()), |missing| Err(format!("needs {missing}"))))
}

fn available(need: &str) -> bool {
    if need == "root" {
        return fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(need).is_file())
}

/// What `command` prints, without the last line end.
fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, printed(&output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn printed(output: &std::process::Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::copy(from, to).expect("a copy");
}
