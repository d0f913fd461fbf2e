//! What people are told, over real connections.

mod fixture;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use fixture::{Fleet, group, policy, value};
use jiff::Timestamp;
use serde_json::Value;
use setpoint::clock::Clock;
use setpoint::control::{ControllerState, Outcome, Rejection, evaluate};
use setpoint::notification::{Address, Channel, Kind, Notifier, Outlook, Topic};
use setpoint::observation::Observation;
use setpoint::order::{Author, Order, Pause, Scope, Standing};
use setpoint::policy::{Capacity, MaxSpend, Policy};
use setpoint::status::{Action, Board, Delivery, LaneStatus, PolicyStatus, Snapshot};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

const SECRET: &str = "a secret of more than twenty-four bytes";

/// The words of docs/notifications.md.
const VERIFY: &str = include_str!("../docs/notifications.md");

/// A server that answers each message as its script says, and hands on what it was sent.
struct Receiver {
    address: SocketAddr,
    messages: mpsc::UnboundedReceiver<(HeaderMap, String)>,
}

#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<Vec<Answer>>>,
    messages: mpsc::UnboundedSender<(HeaderMap, String)>,
}

enum Answer {
    Status(StatusCode),
    After(u64),
    Never,
}

impl Receiver {
    async fn start(mut answers: Vec<Answer>) -> Self {
        answers.reverse();
        let (sender, messages) = mpsc::unbounded_channel();
        let script = Script { answers: Arc::new(Mutex::new(answers)), messages: sender };
        let router = axum::Router::new().route("/", post(receive)).with_state(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, messages }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    async fn next(&mut self) -> (HeaderMap, String) {
        let message = tokio::time::timeout(Duration::from_secs(30), self.messages.recv()).await;
        message.expect("a message").expect("a server")
    }
}

async fn receive(State(script): State<Script>, headers: HeaderMap, body: String) -> impl IntoResponse {
    script.messages.send((headers, body)).expect("a test");
    let answer = script.answers.lock().await.pop();
    match answer {
        None => StatusCode::OK.into_response(),
        Some(Answer::Status(status)) => status.into_response(),
        Some(Answer::After(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response()
        }
        Some(Answer::Never) => std::future::pending().await,
    }
}

/// A board that a notifier watches, which tells one receiver.
struct Trial {
    board: Board,
    folder: TempDir,
    _notifier: Notifier,
}

impl Trial {
    fn start(receiver: &Receiver, per_minute: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = Kind::Webhook { secret_file: file(&folder, "secret", SECRET) };
        let url = Address::File(file(&folder, "url", &receiver.url()));
        let topics = vec![Topic::Order];
        let channel = Channel { name: "pager".into(), kind, url, topics, policies: Vec::new(), per_minute };
        let board = Board::new(Snapshot::new("trial".into(), Timestamp::now()));
        let notifier = Notifier::start(&[channel], &board, Clock::WALL);
        Self { board, folder, _notifier: notifier }
    }

    /// Lets the first look pass, which tells nothing of what was before.
    async fn looked(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    fn freeze(&self, reason: &str) {
        let since = Timestamp::now();
        let until = since + Duration::from_hours(1);
        let author = Author { by: "mara".into(), reason: reason.into() };
        let mut standing = Standing::default();
        standing.take(Order::Freeze(Pause { scope: Scope::Both, author, since, until }));
        self.board.publish(|snapshot| snapshot.orders = Arc::new(standing));
    }

    async fn delivered(&self, expected: impl Fn(&Delivery) -> bool) {
        let mut reader = self.board.reader();
        let shown = reader.wait_for(|snapshot| expected(&snapshot.notifications["pager"]));
        drop(tokio::time::timeout(Duration::from_secs(30), shown).await.expect("in time").expect("a board"));
    }
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path
}

/// What the program in the docs, run by Python, thinks of the message.
fn is_genuine(folder: &TempDir, secret: &str, headers: &HeaderMap, body: &str) -> bool {
    let program = VERIFY.split("```python").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Vec<(&str, &str)> = names.map(|name| (name, headers[name].to_str().expect("text"))).to_vec();
    let body = file(folder, "body", body);
    let body = body.display();
    let program =
        format!("{program}\nprint(is_genuine({secret:?}.encode(), dict({headers:?}), open('{body}', 'rb').read()))");
    let output = Command::new("python3").args(["-c", &program]).output().expect("python3 runs");
    assert!(output.status.success(), "{}\n{program}", String::from_utf8_lossy(&output.stderr));
    output.stdout == b"True\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_signed_and_comes_again_when_it_was_refused() {
    let refused = vec![Answer::Status(StatusCode::INTERNAL_SERVER_ERROR), Answer::After(2)];
    let mut receiver = Receiver::start(refused).await;
    let trial = Trial::start(&receiver, 60);
    trial.looked().await;
    trial.freeze("a storm");
    let (first, body) = receiver.next().await;
    let (again, _) = receiver.next().await;
    let (last, same) = receiver.next().await;
    assert_eq!(body, same);
    assert_eq!([&again["webhook-id"], &last["webhook-id"]], [&first["webhook-id"]; 2]);
    let second = |headers: &HeaderMap| headers["webhook-timestamp"].to_str().unwrap().parse::<i64>().unwrap();
    assert!(second(&last) - second(&again) >= 1, "Retry-After is kept");
    assert!(is_genuine(&trial.folder, SECRET, &last, &body));
    assert!(!is_genuine(&trial.folder, "another secret", &last, &body));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let notice = &body["data"]["notices"][0];
    assert_eq!((&notice["topic"], &notice["state"]), (&"order".into(), &"began".into()));
    assert!(notice["text"].as_str().expect("a text").ends_with("by mara: a storm"), "{notice}");
    trial.delivered(|delivery| (delivery.sent, delivery.failed, &delivery.error) == (1, 0, &None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_given_up_and_shown_without_the_address() {
    let mut receiver = Receiver::start(vec![Answer::Status(StatusCode::NOT_FOUND)]).await;
    let trial = Trial::start(&receiver, 60);
    trial.looked().await;
    trial.freeze("a storm");
    receiver.next().await;
    trial.delivered(|delivery| delivery.failed == 1).await;
    let error = trial.board.reader().borrow().notifications["pager"].error.clone();
    assert_eq!(error.as_deref(), Some("refused with 404 Not Found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_nobody_up_and_what_comes_meanwhile_goes_together() {
    let mut receiver = Receiver::start(vec![Answer::Never]).await;
    let trial = Trial::start(&receiver, 60);
    trial.looked().await;
    trial.freeze("one");
    receiver.next().await;
    for reason in ["two", "three"] {
        trial.freeze(reason);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    // The message that was not answered in time comes again, then the rest at once.
    let (_, again) = receiver.next().await;
    assert!(again.contains("mara: one"), "{again}");
    let (_, rest) = receiver.next().await;
    assert!(rest.contains("mara: two") && rest.contains("mara: three"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tries_every_channel_and_says_what_came_of_it() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "{}\n[[notification]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"{}\"\n\
         [[notification]]\nname = \"pager\"\nkind = \"slack\"\nurl_file = \"/nowhere\"\n",
        include_str!("../config/examples/cpu.toml"),
        receiver.url()
    );
    let config = file(&folder, "setpoint.toml", &config);
    let run = Command::new(env!("CARGO_BIN_EXE_setpoint")).args(["notify", "--config"]).arg(config).output();
    let output = run.expect("setpoint runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        said,
        "chat: arrived\npager: the file /nowhere can't be opened: No such file or directory (os error 2)\n"
    );
    assert_eq!(output.status.code(), Some(1));
    let (_, body) = receiver.next().await;
    assert_eq!(
        body,
        r#"{"text":"ORDER *Setpoint* this is a test of the notification \"chat\"; nothing has happened"}"#
    );
}

/// A snapshot of one policy, whose lane has just finished a cycle at `second`.
fn snapshot(second: i64, policy: PolicyStatus) -> Snapshot {
    let now = Fleet::moment(second);
    let mut snapshot = Snapshot::new("trial".into(), Fleet::moment(0));
    let lane = LaneStatus {
        region: None,
        interval: Duration::from_secs(15),
        policies: 1,
        started: Fleet::moment(0),
        finished: Some(now),
        took: Duration::ZERO,
        cycles: 1,
    };
    snapshot.lanes.insert("default/15s".into(), lane);
    snapshot.policies.insert(policy.name.clone(), Arc::new(policy));
    snapshot
}

/// The policy of the fixture, evaluated at `second` with this utilization, if its group of ten can be seen.
fn evaluated(second: i64, cpu: Option<f64>) -> PolicyStatus {
    let seen = Observation {
        measurements: cpu.map(value).into_iter().collect(),
        group: cpu.map(|_| group(10)),
        ..Observation::default()
    };
    let policy = policy();
    let (evaluation, _) = evaluate(&policy, ControllerState::default(), &seen, Fleet::moment(second));
    PolicyStatus { evaluation: Some(evaluation), ..PolicyStatus::new(&policy) }
}

fn acted(second: i64, outcome: Outcome, status: PolicyStatus) -> PolicyStatus {
    let action = Action {
        at: Fleet::moment(second),
        from: Capacity::new(4),
        to: Capacity::new(6),
        because: "cpu is high".into(),
        outcome,
        error: Some("ScalingActivityInProgress".into()),
    };
    PolicyStatus { last_action: Some(action), ..status }
}

/// What is told at each of these looks, a line a notice.
fn told(looks: impl IntoIterator<Item = (i64, Snapshot)>) -> Vec<String> {
    let mut outlook = Outlook::default();
    let looks = looks.into_iter().flat_map(|(second, snapshot)| {
        let notices = outlook.look(&snapshot, Fleet::moment(second));
        notices.into_iter().map(move |notice| {
            let subject = notice.policy.unwrap_or("-".into());
            format!("{second} {:?} {:?} {subject} {}", notice.topic, notice.state, notice.text)
        })
    });
    looks.collect()
}

fn look(second: i64, policy: PolicyStatus) -> (i64, Snapshot) {
    (second, snapshot(second, policy))
}

#[test]
fn a_scaling_is_told_once_and_what_was_before_the_first_look_is_not() {
    let at = |second, action| look(second, acted(action, Outcome::Applied, evaluated(second, Some(0.7))));
    let told = told([at(15, 0), at(30, 0), at(45, 45), at(60, 45)]);
    assert_eq!(told, ["45 Scale Happened web desired capacity 4 \u{2192} 6: cpu is high"]);
}

#[test]
fn a_policy_that_is_held_back_by_what_it_may_spend_is_told_of() {
    let max_spend = MaxSpend { per_hour: Some(1.0), per_day: None };
    let rules = Policy { instance_price: Some(0.1), max_spend, max: Capacity::new(50), ..policy() };
    let at = |second, cpu| {
        let measurements = [value(cpu)].into_iter().collect();
        let seen = Observation { measurements, group: Some(group(10)), ..Observation::default() };
        let (evaluation, _) = evaluate(&rules, ControllerState::default(), &seen, Fleet::moment(second));
        look(second, PolicyStatus { evaluation: Some(evaluation), ..PolicyStatus::new(&rules) })
    };
    let told = told([at(0, 0.7), at(15, 0.9), at(30, 0.9), at(45, 0.7), at(330, 0.7)]);
    assert_eq!(
        told,
        [
            "15 Limit Began web scale-out to 13 would cost more than max_spend_per_hour, 1.00, which allows 10",
            "330 Limit Ended web is no longer held back from adding",
        ]
    );
}

#[test]
fn refused_calls_are_one_matter_until_five_minutes_have_passed_without() {
    let refused = |second| {
        let outcome = Outcome::Rejected(Rejection::Contention);
        look(second, acted(second, outcome, evaluated(second, Some(0.7))))
    };
    let calm = |second| look(second, evaluated(second, Some(0.7)));
    let told = told([calm(0), refused(15), calm(30), refused(45), calm(330), calm(345), calm(360)]);
    let began = "15 Failure Began web could not be set from 4 to 6: ScalingActivityInProgress";
    assert_eq!(told, [began, "345 Failure Ended web no call has been refused for five minutes"]);
}

#[test]
fn a_policy_that_is_blind_for_two_minutes_is_told_of_and_one_that_blinks_is_not() {
    let blind = |second| look(second, evaluated(second, None));
    let sees = |second| look(second, evaluated(second, Some(0.7)));
    assert_eq!(told([sees(0), blind(15), sees(30), blind(120), blind(180), sees(195)]), [""; 0]);
    let told = told([blind(0), blind(119), blind(120), blind(300), sees(315), sees(599), sees(600)]);
    let [began, ended] = &told[..] else { panic!("{told:#?}") };
    assert!(began.starts_with("120 Failure Began web can't see: "), "{began}");
    assert_eq!(ended, "600 Failure Ended web sees its metrics and its group again");
}

#[test]
fn a_policy_that_is_held_at_its_maximum_is_told_of_with_what_it_wants() {
    let wanting = |second| look(second, evaluated(second, Some(0.9)));
    let told = told([wanting(0), wanting(15)]);
    let [began] = &told[..] else { panic!("{told:#?}") };
    assert!(began.starts_with("0 Limit Began web ") && began.ends_with(", 13 are wanted"), "{began}");
}

#[test]
fn an_order_is_told_when_it_is_given_and_when_it_is_over_and_how() {
    let ordered = |second, until: Option<i64>| {
        let (second, mut snapshot) = look(second, evaluated(second, Some(0.7)));
        let mut standing = Standing::default();
        if let Some(until) = until {
            let author = Author { by: "mara".into(), reason: "a sale".into() };
            let (since, until) = (Fleet::moment(0), Fleet::moment(until));
            standing.take(Order::Pause {
                policy: "web".into(),
                pause: Pause { scope: Scope::ScaleIn, author, since, until },
            });
        }
        snapshot.orders = Arc::new(standing);
        (second, snapshot)
    };
    let told = told([
        ordered(0, None),
        ordered(15, Some(60)),
        ordered(30, Some(60)),
        ordered(60, None),
        ordered(75, Some(600)),
        ordered(90, None),
    ]);
    assert_eq!(told[0], "15 Order Began web scale-in is paused until 2027-01-15 08:01 UTC by mara: a sale");
    assert_eq!(told[1], "60 Order Ended web the pause has ended by itself");
    assert!(told[2].starts_with("75 Order Began"), "{told:#?}");
    assert_eq!(told[3..], ["90 Order Ended web the pause was ended by an operator"]);
}

#[test]
fn a_refused_reload_and_a_late_lane_are_told_of() {
    let (second, mut refused) = look(15, evaluated(15, Some(0.7)));
    refused.configuration.reloads_refused = 1;
    refused.configuration.reload_error = Some("line 3".into());
    let (_, stuck) = look(15, evaluated(15, Some(0.7)));
    let told = told([look(0, evaluated(0, Some(0.7))), (second, refused), (61, stuck.clone()), (181, stuck)]);
    let [reload, late] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(reload, "15 Failure Happened - a reload was refused, the configuration stays as it was: line 3");
    assert!(late.starts_with("181 Failure Began - lane default/15s has finished no cycle since"), "{late}");
}
