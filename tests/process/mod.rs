//! The daemon as a process of its own, and what `/proc` and its sockets tell of it.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// The longest wait for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// `setpoint run` in a folder of its own, which holds its configuration, its state, its socket and its log.
pub struct Process {
    child: Child,
    folder: PathBuf,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory, in KiB.
    pub resident: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Process {
    /// Starts the daemon; it need not have begun to listen yet.
    pub fn start(folder: &Path, configuration: &str, prometheus_url: &str, auto_scaling_url: &str) -> Self {
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a file");
        configure(folder, configuration);
        let child = Command::new(env!("CARGO_BIN_EXE_setpoint"))
            .args(["run", "--config"])
            .arg(file_in(folder))
            .env("SETPOINT__PROMETHEUS__URL", prometheus_url)
            .env("SETPOINT__AWS__ENDPOINT_URL", auto_scaling_url)
            .env("SETPOINT__HTTP__LISTEN", "127.0.0.1:0")
            .env("SETPOINT__STATE__PATH", folder.join("state"))
            .env("AWS_ACCESS_KEY_ID", "trial")
            .env("AWS_SECRET_ACCESS_KEY", "trial")
            .env("SETPOINT_LOG", "error")
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary");
        Self { child, folder: folder.to_owned() }
    }

    /// SIGKILL, and the wait for its effect.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a kill");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Whatever it has logged, in all its lives in this folder.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    pub fn usage(&self) -> Usage {
        let process = PathBuf::from(format!("/proc/{}", self.child.id().expect("a running process")));
        let status = fs::read_to_string(process.join("status")).expect("a status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
            line.trim_end_matches("kB").trim().parse().expect("a number")
        };
        let descriptors = fs::read_dir(process.join("fd")).expect("its descriptors").count();
        Usage {
            resident: field("VmRSS:"),
            descriptors: u64::try_from(descriptors).expect("a few"),
            threads: field("Threads:"),
        }
    }

    /// The processor time that it has used, in ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id().expect("a running process"));
        let stat = fs::read_to_string(path).expect("its times");
        let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        [11, 12].iter().map(|field: &usize| fields[*field].parse::<u64>().expect("a number")).sum()
    }

    /// Bytes in its state directory.
    pub fn state_size(&self) -> u64 {
        let files = fs::read_dir(self.folder.join("state")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    }

    /// Its Unix socket, where nobody needs a token and no port can be taken by somebody else.
    async fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.folder.join("socket")).await
    }

    /// The answer to a GET; `None` if there is none.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
        exchange(self.connect().await.ok()?, &head, "").await
    }

    /// The answer to a POST; `None` if there is none.
    pub async fn post(&self, path: &str, body: &str) -> Option<(u16, String)> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        exchange(self.connect().await.ok()?, &head, body).await
    }

    /// Waits until it answers.
    pub async fn until_it_listens(&mut self) {
        let listens = async {
            while self.get("/healthz").await.is_none() {
                assert!(self.child.try_wait().expect("a child").is_none(), "it ends: {}", self.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let listens = tokio::time::timeout(PATIENCE, listens).await;
        assert!(listens.is_ok(), "it never listens: {}", self.log());
    }

    /// Reads live updates for so long, and goes without a word.
    pub async fn watch(&self, time: Duration) {
        let Ok(mut stream) = self.connect().await else { return };
        let head = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let reading = async {
            let mut bytes = [0; 4096];
            stream.write_all(head.as_bytes()).await?;
            while stream.read(&mut bytes).await? > 0 {}
            std::io::Result::Ok(())
        };
        // It may end earlier by itself.
        let _ = tokio::time::timeout(time, reading).await;
    }
}

/// Writes the configuration of the daemon in `folder`, for its next start or reload.
pub fn configure(folder: &Path, configuration: &str) {
    let text = format!("{configuration}\n[http]\nsocket = \"{}\"\n", folder.join("socket").display());
    fs::write(file_in(folder), text).expect("a file");
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("setpoint.toml")
}

/// Sends one request on a connection of its own; `None` if nothing whole comes back.
pub async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &str,
) -> Option<(u16, String)> {
    let request = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let mut bytes = Vec::new();
    let exchanged = async {
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.read_to_end(&mut bytes).await.ok()
    };
    tokio::time::timeout(PATIENCE, exchanged).await.ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
