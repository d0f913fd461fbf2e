//! The status page in a real browser, which is left out by name where no chromium is installed. Screenshots are left in
//! `target/screenshots`.

mod fixture;
mod site;
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::Credentials;
use fixture::{group, value};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use setpoint::api::{Role, Server, Settings, Tls, Token, View};
use setpoint::clock::Clock;
use setpoint::config;
use setpoint::daemon::{Command, Daemon};
use setpoint::policy::{Controller, Risk};
use setpoint::simulation::{World, WorldServer};
use setpoint::status::{Board, PolicyStatus, Snapshot};
use site::{Site, fleet, named, seen};
use support::browser::Browser;
use support::servers::axe;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const TOKEN: &str = "operator-0123456789abcdef01234567";

const PHONE: (u32, u32) = (360, 740);
const DESKTOP: (u32, u32) = (1280, 800);

/// How much faster than life the sale is: the crowd arrives within a few seconds.
const SPEED: f64 = 30.0;

/// The daemon on the world of the demo, with a journal and an operator's token.
struct Demo {
    url: String,
    folder: TempDir,
    board: Board,
    commands: mpsc::Sender<Command>,
    daemon: tokio::task::JoinHandle<()>,
    // Dropped to stop the server.
    _stop: oneshot::Sender<()>,
    _world: WorldServer,
}

impl Demo {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = Timestamp::now();
        let clock = Clock::accelerated(start, SPEED);
        let world = WorldServer::start(World::ticket_sale(1, start), clock).await.unwrap();
        let environment = [
            ("SETPOINT__PROMETHEUS__URL", world.prometheus_url.clone()),
            ("SETPOINT__AWS__ENDPOINT_URL", world.auto_scaling_url.clone()),
            ("SETPOINT__STATE__PATH", folder.path().display().to_string()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let text = include_str!("../config/demo.toml").replace("900ms", "450ms");
        let load = move || config::parse("demo.toml", &text, environment.clone());
        let server = Server::bind(&with_token(&folder, "127.0.0.1:0")).await.unwrap();
        let url = format!("http://{}/", server.address().unwrap());
        let board = Board::new(Snapshot::new("demo.toml".into(), clock.now()));
        let credentials = Credentials::from_keys("demo", "demo", None);
        let daemon = Box::pin(Daemon::start(load().unwrap(), clock, board.clone(), Some(credentials))).await.unwrap();
        let (history, (commands, received)) = (daemon.history(), mpsc::channel(4));
        let daemon = tokio::spawn(daemon.run(received, Box::new(load)));
        let (stop, stopped) = oneshot::channel();
        let view = View::new(board.reader(), history, commands.clone(), clock);
        tokio::spawn(server.serve(view, async { drop(stopped.await) }));
        Self { url, folder, board, commands, daemon, _stop: stop, _world: world }
    }

    /// Waits for so many evaluations.
    async fn evaluated(&self, times: u64) {
        let done = |snapshot: &Snapshot| {
            snapshot.policies.get("tickets").is_some_and(|policy| policy.counters.evaluations >= times)
        };
        self.board.reader().wait_for(done).await.unwrap();
    }

    fn policy(&self) -> Arc<PolicyStatus> {
        self.board.reader().borrow().policies["tickets"].clone()
    }

    async fn stop(self) {
        self.commands.send(Command::Stop).await.unwrap();
        self.daemon.await.unwrap();
        drop(self.folder);
    }
}

fn with_token(folder: &TempDir, listen: &str) -> Settings {
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let tokens = vec![Token { name: "night shift".into(), role: Role::Operator, file }];
    Settings { listen: listen.parse().unwrap(), tokens, ..Settings::loopback(0) }
}

/// Numbers of the API beside those that the charts have drawn: true once they are the same.
const DRAWN: &str = r"(async () => {
    const series = await (await fetch('/api/v1/policies/tickets/series')).json();
    const columns = ['min', 'max', 'recommended', 'desired', 'in_service'].map((name) => series[name]);
    const expected = [[series.at, ...columns],
        ...series.metrics.map(({ values, target }) => [series.at, values, values.map(() => target)])];
    const drawn = [...document.querySelectorAll('figure.chart')].map((figure) => figure.plot?.data);
    return series.at.length > 10 && JSON.stringify(drawn) === JSON.stringify(expected) && drawn.length;
})()";

/// How many colours each canvas has, which is one where nothing is drawn.
const COLOURS: &str = r"[...document.querySelectorAll('figure.chart canvas')].map((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
})";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_the_api_says_and_pauses_a_policy() {
    let Some(mut browser) = Browser::start() else { return };
    let demo = Demo::start().await;
    demo.evaluated(16).await;
    for (name, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        browser.open(&demo.url, size, false);
        browser.until("document.querySelector('[data-policy=tickets] .measured .bar')");
        fits(&mut browser);
        browser.shoot(&format!("{name}-fleet"));
        browser.run(
            "[window.link, window.cell] = document.querySelectorAll('[data-policy=tickets] :is(a, .measured)'), 0",
        );
        browser.until("!cell.isConnected");
        assert_eq!(browser.run("link.isConnected"), true, "an update between a press and its release loses the click");
        browser.click("[data-policy=tickets] a");
        let cost = browser.until("document.querySelector('.policy .cost')?.innerText");
        assert!(cost.as_str().unwrap().contains(" instance-hours; no known price; "), "{cost}");
        assert_eq!(browser.until(DRAWN), 4, "capacity and three metrics");
        let colours = browser.run(COLOURS);
        let drawn = colours.as_array().unwrap().iter().all(|colours| colours.as_u64().unwrap() > 5);
        assert!(drawn, "a chart is blank: {colours}");
        assert!(browser.until("document.querySelector('.timeline li')?.innerText").as_str().unwrap().contains(':'));
        browser.click(".timeline summary");
        browser.until("document.querySelector('.timeline li .stages')");
        fits(&mut browser);
        pause(&mut browser, &demo, name);
        resume_by_keyboard(&mut browser, &demo);
        overrule(&mut browser, &demo);
        browser.shoot(&format!("{name}-policy"));
        browser.dark(true);
        browser.until("document.querySelector('figure.chart').plot");
        browser.shoot(&format!("{name}-policy-dark"));
        assert_eq!(browser.complaints(), [""; 0], "{name}");
    }
    browser.open(&demo.url, DESKTOP, true);
    browser.until("document.querySelector('[data-policy=tickets] .bar')");
    browser.shoot("desktop-fleet-dark");
    demo.stop().await;
}

fn pause(browser: &mut Browser, demo: &Demo, name: &str) {
    browser.click(".actions button");
    browser.until("document.querySelector('dialog[open]')");
    browser.fill("dialog [name=reason]", "a migration");
    browser.fill("dialog [name=author]", "mara");
    // The tab has it from the first time on.
    if browser.run("document.querySelector('dialog [name=token]') !== null") == true {
        browser.fill("dialog [name=token]", TOKEN);
    }
    browser.shoot(&format!("{name}-pause"));
    submit(browser);
    browser.until("document.querySelector('.notice.warn')?.innerText.includes('mara (night shift): a migration')");
    browser.until("document.querySelector('.timeline li.order')?.innerText.includes('Pause')");
    let orders = demo.board.reader().borrow().orders.clone();
    assert_eq!(orders.pauses["tickets"].author.reason, "a migration");
    assert!(demo.policy().evaluation.as_ref().unwrap().observation.paused.inward, "it is heeded");
    assert_eq!(browser.run("localStorage.length"), 0, "the token is not kept beyond the tab");
}

fn resume_by_keyboard(browser: &mut Browser, demo: &Demo) {
    browser.run("document.querySelector('.brand').focus()");
    let focused = "document.activeElement.textContent.startsWith('Resume')";
    for _ in 0..20 {
        if browser.run(focused) == true {
            break;
        }
        browser.press("Tab");
    }
    assert_eq!(browser.run(focused), true, "the button is within reach of the keyboard");
    assert_ne!(browser.run("getComputedStyle(document.activeElement).outlineStyle"), "none", "the focus is seen");
    browser.press("Enter");
    browser.until("document.querySelector('dialog[open]')");
    browser.fill("dialog [name=reason]", "done");
    browser.press("Enter");
    browser.until("!document.querySelector('.notice.warn')");
    assert!(demo.board.reader().borrow().orders.pauses.is_empty());
}

fn submit(browser: &mut Browser) {
    browser.click("dialog button.main");
    browser.until("!document.querySelector('dialog')");
}

/// Forty minutes of a controller that foretells.
fn foretelling() -> Snapshot {
    let mut policy = named("web");
    policy.controller = Controller::Risk(Risk::default());
    let mut snapshot = fleet();
    let series = seen(&policy, &[value(0.5)], Some(group(8)), snapshot.started).series;
    for minute in (0..40).rev() {
        let load = value(0.5 + 0.2 * (f64::from(minute) / 6.0).sin());
        let mut status =
            seen(&policy, &[load], Some(group(8)), snapshot.started - SignedDuration::from_mins(minute.into()));
        status.series = series.clone();
        status.series.add(&status);
        snapshot.policies.insert(status.name.clone(), Arc::new(status));
    }
    snapshot
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foretold_is_drawn_below_what_is_kept_in_hand() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::open(foretelling()).await;
    browser.open(&format!("http://{}/#/policies/web", site.address), DESKTOP, false);
    browser.until("document.querySelector('figure.chart').plot?.bands.length === 2");
    browser.until("document.querySelector('.u-legend').innerText.includes('Foretold')");
    let below = "(() => { const [, , , recommended, , , foretold] = document.querySelector('figure.chart').plot.data;
        return foretold.length === 40 && foretold.every((value, place) => value > 0 && value <= recommended[place])
            && foretold.some((value, place) => value < recommended[place]); })()";
    let columns = browser.run("document.querySelector('figure.chart').plot.data.slice(3)");
    assert_eq!(browser.run(below), true, "{columns}");
    browser.shoot("desktop-foretold");
    assert!(browser.complaints().iter().all(|complaint| complaint.contains("/decisions?")), "there is no journal");
}

/// What the API refuses is said in its words, and what was entered is still there.
fn overrule(browser: &mut Browser, demo: &Demo) {
    browser.click(".actions button:nth-child(3)");
    browser.fill("dialog [name=floor]", "9");
    browser.fill("dialog [name=cap]", "4");
    browser.fill("dialog [name=reason]", "a test");
    browser.click("dialog button.main");
    browser.until("document.querySelector('dialog [role=alert]').innerText.includes('above the cap of 4')");
    assert!(browser.complaints().iter().all(|complaint| complaint.contains("422")), "the browser keeps note of it");
    browser.run("document.querySelector('dialog [name=cap]').value = '9'");
    submit(browser);
    browser.until("document.querySelector('.notice.warn')?.innerText.includes('Overridden to exactly 9')");
    assert_eq!(demo.board.reader().borrow().orders.overrides["tickets"].cap.unwrap().get(), 9);
    browser.click(".actions button:nth-child(4)");
    browser.fill("dialog [name=reason]", "over");
    submit(browser);
    browser.until("!document.querySelector('.notice.warn')");
    assert!(demo.board.reader().borrow().orders.overrides.is_empty());
}

/// What axe finds wrong: contrast, names, roles, order of headings, landmarks.
const AUDIT: &str = r"axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`)))";

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_read_the_page() {
    let (Some(mut browser), Some(axe)) = (Browser::start(), axe()) else { return };
    let site = Site::open(fleet()).await;
    for (size, dark) in [(DESKTOP, false), (DESKTOP, true), (PHONE, false), (PHONE, true)] {
        for path in ["", "#/policies/web", "#/policies/lost", "plain"] {
            browser.open(&format!("http://{}/{path}", site.address), size, dark);
            browser.until("document.querySelector('tbody tr, .conditions li')");
            if path == "#/policies/web" {
                browser.click(".actions button:nth-child(3)");
                browser.until("document.querySelector('dialog[open]')");
            }
            browser.run(&axe);
            let found = browser.run(AUDIT);
            assert_eq!(found, json!([]), "{path} {size:?} dark: {dark}");
        }
    }
}

/// Nothing has to be scrolled sideways.
fn fits(browser: &mut Browser) {
    let wide = browser.run(
        "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 \
            && !e.closest('.unseen, .skip, .plot')).map((e) => e.outerHTML.slice(0, 80)).slice(0, 5)",
    );
    assert_eq!(wide, json!([]), "too wide");
    assert_eq!(browser.run("document.documentElement.scrollWidth <= innerWidth"), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_told_in_words_and_what_a_server_said_is_text() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::open(fleet()).await;
    let url = format!("http://{}/", site.address);
    for (name, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        browser.open(&url, size, name == "phone");
        browser.until("document.querySelectorAll('tbody tr').length === 11");
        browser.until("document.title === '(9) Setpoint: 9 in trouble'");
        fits(&mut browser);
        browser.shoot(&format!("{name}-troubles"));
        let text = browser.text();
        for says in ["not valid", "group unknown", "contested", "overdue", "refused", "failed", "9 in trouble", "90 %"]
        {
            assert!(text.contains(says), "{says} in {text}");
        }
    }
    let order = "[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.policy).slice(9).join()";
    assert_eq!(browser.run(order), "fresh,web", "trouble comes first");
    assert_eq!(browser.complaints(), [""; 0]);
    browser.open(&format!("{url}#/policies/lost"), PHONE, false);
    browser.until("document.body.innerText.includes(\"AccessDenied: <script>alert('1')</script>\")");
    fits(&mut browser);
    browser.shoot("phone-lost");
    // Which a slip in a script of ours must not change.
    let markup = "(() => { try { document.body.innerHTML = '<b>'; return 'made'; } catch { return 'refused'; } })()";
    assert_eq!(browser.run(markup), "refused");
    // That there is no journal is an answer, of which the browser itself keeps note.
    let mut complaints = browser.complaints();
    complaints.retain(|complaint| !complaint.contains("TrustedHTML"));
    assert!(complaints.iter().all(|complaint| complaint.contains("/decisions?")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_server_has_gone_says_that_it_is_stale() {
    let Some(mut browser) = Browser::start() else { return };
    let mut site = Site::open(fleet()).await;
    browser.open(&format!("http://{}/", site.address), PHONE, false);
    browser.until("document.querySelectorAll('tbody tr').length === 11");
    assert_eq!(browser.run("document.querySelector('#connection').textContent"), "Live");
    site.end().await;
    browser.until("document.querySelector('#notices').innerText.startsWith('Connection lost since')");
    assert_eq!(browser.run("document.body.classList.contains('stale')"), true);
    assert_eq!(browser.run("document.querySelectorAll('tbody tr').length"), 11, "what was known is still there");
    browser.shoot("phone-stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reading_needs_a_token_the_page_asks_for_it() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, content: String| -> PathBuf {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name)
    };
    let tls = Tls {
        certificate_file: file("cert.pem", pair.cert.pem()),
        key_file: file("key.pem", pair.signing_key.serialize_pem()),
    };
    let settings = Settings { tls: Some(tls), ..with_token(&folder, "0.0.0.0:0") };
    let site = Site::with(&settings, fleet()).await;
    browser.open(&format!("https://127.0.0.1:{}/", site.address.port()), PHONE, false);
    browser.until("document.querySelector('#notices').innerText.includes('this needs a bearer token')");
    browser.shoot("phone-token");
    assert_eq!(browser.run("document.querySelectorAll('tbody tr').length"), 0);
    for (token, expected) in
        [("wrong", "1 && notices.includes(\"the bearer token is nobody's\")"), (TOKEN, "11 && !notices")]
    {
        browser.click("#token");
        browser.fill("dialog [name=token]", token);
        browser.press("Enter");
        let rows = "document.querySelectorAll('tr').length - 1";
        let notices = "document.querySelector('#notices').innerText";
        browser.until(&format!("(() => {{ const notices = {notices}; return ({rows} || 1) === {expected}; }})()"));
    }
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|complaint| complaint.contains("401")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_policies_are_shown_and_found() {
    let Some(mut browser) = Browser::start() else { return };
    let mut snapshot = fleet();
    for number in 0..1000 {
        let load = 0.4 + f64::from(number % 40) / 100.0;
        let status = seen(&named(&format!("service-{number:04}")), &[value(load)], Some(group(4)), snapshot.started);
        snapshot.policies.insert(status.name.clone(), Arc::new(status));
    }
    let site = Site::open(snapshot).await;
    let began = std::time::Instant::now();
    browser.open(&format!("http://{}/", site.address), DESKTOP, false);
    browser.until("document.querySelectorAll('tbody tr').length === 1011");
    println!("1,011 rows after {:?}", began.elapsed());
    let script = r"(async () => {
        const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        const field = document.querySelector('#filter');
        const took = {};
        for (const [name, text] of [['filtered', '0777'], ['cleared', '']]) {
            const began = performance.now();
            field.value = text;
            field.dispatchEvent(new Event('input'));
            await painted();
            took[name] = Math.round(performance.now() - began);
            took[name + ' rows'] = document.querySelectorAll('tbody tr').length;
        }
        return took;
    })()";
    let took = browser.run(script);
    println!("{took}");
    assert_eq!((&took["filtered rows"], &took["cleared rows"]), (&Value::from(1), &Value::from(1011)));
    browser.run("new PerformanceObserver((list) => { window.longest = Math.max(window.longest ?? 0, ...list.getEntries().map((e) => e.duration)); }).observe({ type: 'longtask' })");
    let changed = seen(&named("service-0500"), &[value(0.99)], Some(group(7)), Timestamp::now());
    site.board.publish(|snapshot| drop(snapshot.policies.insert("service-0500".into(), Arc::new(changed))));
    // What is far outside the window is not laid out, so it has no inner text.
    let row = "document.querySelector('[data-policy=service-0500]').textContent";
    assert!(browser.until(&format!("{row}.includes('99 %') && {row}")).as_str().unwrap().contains('7'));
    println!("longest task of an event: {} ms", browser.run("window.longest ?? 0"));
    assert_eq!(browser.complaints(), [""; 0]);
}
