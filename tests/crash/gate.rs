//! Stands between the daemon and the Auto Scaling face of the world, notes what is carried out, and says when a moment of
//! a decision's way has come. It changes nothing; where it holds a call, the daemon is killed meanwhile.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use axum::routing::post;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::process;

/// Where on its way a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The groups are described; the decision is about to be made, and its intent to be written.
    Described,
    /// The last look before the call, which never ends: the intent is durable.
    Intended,
    /// The call has come, and is not carried out.
    Called,
    /// The call is carried out, and the answer never comes.
    CarriedOut,
    /// The call is answered; what came of it is about to be written.
    Answered,
}

pub const MOMENTS: [Moment; 5] =
    [Moment::Described, Moment::Intended, Moment::Called, Moment::CarriedOut, Moment::Answered];

impl Moment {
    /// Whether the daemon waits in vain from this moment on.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Intended | Self::Called | Self::CarriedOut)
    }
}

/// A `SetDesiredCapacity` that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub group: String,
    pub desired: u32,
    /// Of which life of the daemon.
    pub life: u32,
}

#[derive(Default)]
struct Inner {
    armed: Option<(Moment, oneshot::Sender<()>)>,
    calls: Vec<Call>,
    life: u32,
}

pub struct Gate {
    pub url: String,
    face: Arc<Face>,
    /// Ends with this.
    _serving: JoinSet<()>,
}

struct Face {
    upstream: String,
    inner: Mutex<Inner>,
}

impl Gate {
    /// In front of `upstream`.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let face = Arc::new(Face { upstream, inner: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().route("/", post(pass)).with_state(face.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it goes on") });
        Self { url, face, _serving: serving }
    }

    /// The daemon's next life begins.
    pub fn begin(&self, life: u32) {
        let mut inner = self.face.inner();
        (inner.life, inner.armed) = (life, None);
    }

    /// Tells when this moment has come the next time.
    pub fn arm(&self, moment: Moment) -> oneshot::Receiver<()> {
        let (sender, come) = oneshot::channel();
        self.face.inner().armed = Some((moment, sender));
        come
    }

    pub fn calls(&self) -> Vec<Call> {
        self.face.inner().calls.clone()
    }
}

impl Face {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while it is held")
    }

    /// Whether somebody waited for this moment, and is told.
    fn reached(&self, moment: Moment) -> bool {
        let mut inner = self.inner();
        let waited = inner.armed.as_ref().is_some_and(|(armed, _)| *armed == moment);
        // Whoever waited may have gone on.
        waited && inner.armed.take().is_some_and(|(_, sender)| sender.send(()).is_ok())
    }

    /// The answer; `None` if the world has ended with its test.
    async fn forward(&self, form: String) -> Option<(u16, String)> {
        let call = called(&form);
        let head = "POST / HTTP/1.1\r\nHost: world\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let stream = TcpStream::connect(&self.upstream).await.ok()?;
        let (status, body) = process::exchange(stream, head, &form).await?;
        if let Some((group, desired)) = call.filter(|_| status == 200) {
            let mut inner = self.inner();
            let life = inner.life;
            inner.calls.push(Call { group, desired, life });
        }
        Some((status, body))
    }
}

async fn pass(State(face): State<Arc<Face>>, form: String) -> Response {
    let sets = form.contains("Action=SetDesiredCapacity");
    let describes = form.contains("Action=DescribeAutoScalingGroups");
    // Only the last look before a call asks for a single group.
    let last_look = describes && !form.contains("AutoScalingGroupNames.member.2");
    if last_look && face.reached(Moment::Intended) || sets && face.reached(Moment::Called) {
        return std::future::pending().await;
    }
    // The world carries out what it has received, whoever is killed meanwhile.
    let forwarding = tokio::spawn({
        let face = face.clone();
        async move { face.forward(form).await }
    });
    let Some((status, body)) = forwarding.await.expect("no panic") else {
        return std::future::pending().await;
    };
    if sets && face.reached(Moment::CarriedOut) {
        return std::future::pending().await;
    }
    if sets {
        face.reached(Moment::Answered);
    } else if describes && !last_look {
        face.reached(Moment::Described);
    }
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "text/xml");
    answer.body(Body::from(body)).expect("a response")
}

/// What a `SetDesiredCapacity` asks for; `None` for any other call.
fn called(form: &str) -> Option<(String, u32)> {
    let value = |name: &str| form.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    (value("Action")? == "SetDesiredCapacity").then_some(())?;
    Some((value("AutoScalingGroupName")?.to_owned(), value("DesiredCapacity")?.parse().ok()?))
}
