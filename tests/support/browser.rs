//! A real browser: Debian's chromium, without a screen, spoken to in the Chrome `DevTools` protocol over a pipe, which
//! needs neither a driver nor a WebSocket. Calls block, so they are for the test's own thread.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::servers::{Process, TICK, or_leave_out};

/// The longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What no test needs, and what would ask others; the last lets a test's own certificate pass.
const OPTIONS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
    "--ignore-certificate-errors",
];

/// A browser with one page; ended when dropped.
pub struct Browser {
    input: ChildStdin,
    output: Receiver<Value>,
    /// What the page complained of since that was asked for last.
    complaints: VecDeque<String>,
    session: String,
    calls: u64,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser. `None`: the test is left out.
    pub fn start() -> Option<Self> {
        or_leave_out(Self::try_start())
    }

    fn try_start() -> Result<Self, String> {
        let chromium = installed().ok_or("there is no chromium on the path")?;
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = Command::new("sh");
        // The browser reads calls from its descriptor 3 and writes answers to 4.
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#]).arg(chromium).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(["--remote-debugging-pipe", "about:blank"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = Process(child.map_err(|error| error.to_string())?);
        let pipes = (process.0.stdin.take(), process.0.stdout.take());
        let (Some(input), Some(output)) = pipes else { return Err("the browser has no pipes".into()) };
        let mut browser = Self {
            input,
            output: messages(output),
            complaints: VecDeque::new(),
            session: String::new(),
            calls: 0,
            _process: process,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        attached["sessionId"].as_str().unwrap_or_default().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Ok(browser)
    }

    /// Goes to `url` as a window of `width` × `height` on a light or a dark screen.
    pub fn open(&mut self, url: &str, (width, height): (u32, u32), dark: bool) {
        let mobile = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        self.dark(dark);
        // A page that differs in its fragment only would not be loaded again.
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// Has the page think that its screen is dark, or light.
    pub fn dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// What a script gives, awaited.
    pub fn run(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script gives something that JavaScript takes for true, and gives that.
    pub fn until(&mut self, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        loop {
            // While a page is loaded, what was there has gone.
            let answer = self.call("Runtime.evaluate", &asked);
            let value = &answer["result"]["value"];
            if !matches!(value, Value::Null | Value::Bool(false)) && value != "" && value != 0 {
                return value.clone();
            }
            assert!(Instant::now() < deadline, "never: {script}: {answer}\n{}", self.text());
            sleep(TICK);
        }
    }

    /// Everything that the page says.
    pub fn text(&mut self) -> String {
        self.run("document.body?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks in the middle of the first element that `selector` finds, once nothing else is in front of it.
    pub fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{ const e = document.querySelector({selector:?}); if (!e) return null;
                e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); const r = e.getBoundingClientRect();
                const place = {{ x: r.x + r.width / 2, y: r.y + r.height / 2 }};
                return e.contains(document.elementFromPoint(place.x, place.y)) && place; }})()"
        );
        let place = self.until(&find);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Clicks into a field and writes.
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses a key that writes nothing, or Enter.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            _ => panic!("the code of the key {key} is not known here"),
        };
        let event = |kind| json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", &event("keyDown"));
        let released = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &released);
    }

    /// Writes the page as the window shows it, and the whole of it, to `target/screenshots`.
    pub fn shoot(&mut self, name: &str) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let folder = target.join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        for (whole, file) in [(false, format!("{name}.png")), (true, format!("{name}-whole.png"))] {
            let answer = self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": whole }));
            let image = BASE64_STANDARD.decode(answer["data"].as_str().unwrap_or_default()).expect("base64");
            std::fs::write(folder.join(file), image).expect("a file");
        }
    }

    /// What the page complained of since the last time: errors, warnings, breaches of the content policy.
    pub fn complaints(&mut self) -> Vec<String> {
        // What was said before this call is there when its answer is.
        self.run("0");
        self.complaints.drain(..).collect()
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let message = self.output.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.complaints.extend(complaint(&message));
        }
    }
}

/// What the browser says, as it comes.
fn messages(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}

fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if ["error", "warning", "assert"].contains(&parameters["type"].as_str()?) => {
            Some(parameters["args"].to_string())
        }
        "Log.entryAdded" => Some(parameters["entry"].to_string()),
        _ => None,
    }
}

fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}
