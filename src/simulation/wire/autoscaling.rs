//! The query protocol of Auto Scaling: a form in, XML out, with the faults, limits and errors of the service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Router};

use super::describe;
use super::xml::Xml;
use super::{Shared, broken_off};
use crate::policy::Capacity;
use crate::simulation::activity::activity_id;
use crate::simulation::faults::AutoScalingFault;
use crate::simulation::group::{GroupError, Update};
use crate::simulation::world::World;

/// Groups on a page where the caller does not say.
const PAGE: usize = 50;

/// The most groups, policies or activities on a page.
const MAX_PAGE: usize = 100;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/", post(receive)).with_state(shared)
}

/// A request: its parameters by name, `Names.member.1` and the like among them.
#[derive(Debug)]
pub(super) struct Request(BTreeMap<String, String>);

/// Why a request has no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }
}

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        let code = match error {
            GroupError::Validation(_) => "ValidationError",
            GroupError::ActivityInProgress(_) => "ScalingActivityInProgress",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl Request {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The members of a list, in order.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n: u32| self.get(&format!("{name}.member.{n}"))).collect()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|text| text == "true")
    }

    pub(super) fn group(&self) -> Result<&str, Refusal> {
        self.get("AutoScalingGroupName").ok_or_else(|| missing("autoScalingGroupName"))
    }

    /// `parameter`, which is a capacity; negative numbers and the like are refused as the service does.
    fn capacity(&self, parameter: &str, member: &str) -> Result<Option<Capacity>, Refusal> {
        let Some(text) = self.get(parameter) else { return Ok(None) };
        let wrong = || constraint(text, member, "Member must have value greater than or equal to 0");
        text.parse().map(|count| Some(Capacity::new(count))).map_err(|_| wrong())
    }

    /// How many items a page has.
    fn page_size(&self, default: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get("MaxRecords") else { return Ok(default) };
        let size = text.parse().ok().filter(|size| (1..=MAX_PAGE).contains(size));
        size.ok_or_else(|| constraint(text, "maxRecords", "Member must have value less than or equal to 100"))
    }

    /// The page of `items` that is asked for, and the token of the next.
    fn page<T>(&self, items: Vec<T>, default: usize) -> Result<(Vec<T>, Option<String>), Refusal> {
        let size = self.page_size(default)?;
        let first = self.get("NextToken").map_or(Some(0), |token| token.strip_prefix("after-")?.parse().ok());
        let Some(first) = first.filter(|first: &usize| *first <= items.len()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidNextToken", "The NextToken value is not valid."));
        };
        let next = first.saturating_add(size);
        let token = (next < items.len()).then(|| format!("after-{next}"));
        Ok((items.into_iter().skip(first).take(size).collect(), token))
    }

    /// The page of a call whose pages have 50 items by default.
    pub(super) fn short_page<T>(&self, items: Vec<T>) -> Result<(Vec<T>, Option<String>), Refusal> {
        self.page(items, PAGE)
    }

    /// The page of a call whose pages have 100 items by default.
    pub(super) fn long_page<T>(&self, items: Vec<T>) -> Result<(Vec<T>, Option<String>), Refusal> {
        self.page(items, MAX_PAGE)
    }
}

fn missing(member: &str) -> Refusal {
    Refusal::validation(format!(
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
    ))
}

fn constraint(value: &str, member: &str, problem: &str) -> Refusal {
    Refusal::validation(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {problem}"
    ))
}

async fn receive(State(shared): State<Arc<Shared>>, Form(parameters): Form<BTreeMap<String, String>>) -> Response {
    let received = Instant::now();
    let request = Request(parameters);
    let action = request.get("Action").unwrap_or_default().to_owned();
    let (fault, answer) = {
        let mut world = shared.now();
        let fault = fault(&world, &request, &action);
        match fault.and_then(refused) {
            Some(refusal) => (fault, Err(refusal)),
            None => (fault, carry_out(&mut world, &action, &request, received)),
        }
    };
    match fault {
        Some(AutoScalingFault::AnswerLost) => return broken_off(),
        Some(AutoScalingFault::NoCode) => return (StatusCode::INTERNAL_SERVER_ERROR, "<html/>").into_response(),
        Some(AutoScalingFault::Slow(late)) => tokio::time::sleep(late).await,
        _ => (),
    }
    written(&action, answer)
}

fn fault(world: &World, request: &Request, action: &str) -> Option<AutoScalingFault> {
    let mentioned: Vec<&str> = request.0.values().map(String::as_str).chain([action]).collect();
    world.faults.auto_scaling.as_ref().and_then(|fault| fault.hits(&mentioned).copied())
}

/// What a fault refuses with, in place of carrying the request out.
fn refused(fault: AutoScalingFault) -> Option<Refusal> {
    let (status, code, message) = match fault {
        AutoScalingFault::Throttling => (StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded"),
        AutoScalingFault::RateExceeded => (StatusCode::BAD_REQUEST, "RateExceeded", "Rate exceeded"),
        AutoScalingFault::ResourceContention => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "ResourceContention",
            "You already have a pending update to an Amazon EC2 Auto Scaling resource.",
        ),
        AutoScalingFault::AccessDenied => (
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "User: arn:aws:sts::111122223333:assumed-role/setpoint/i-0 is not authorized to perform this action",
        ),
        AutoScalingFault::NoCode => (StatusCode::INTERNAL_SERVER_ERROR, "", ""),
        AutoScalingFault::AnswerLost | AutoScalingFault::Slow(_) => return None,
    };
    Some(Refusal::new(status, code, message))
}

fn carry_out(world: &mut World, action: &str, request: &Request, received: Instant) -> Result<Xml, Refusal> {
    match action {
        "DescribeAutoScalingGroups" => describe::groups(world, request),
        "DescribeScalingActivities" => describe::activities(world, request),
        "DescribePolicies" => describe::policies(world, request),
        "DescribeScheduledActions" => describe::scheduled_actions(world, request),
        "DescribeInstanceRefreshes" => describe::instance_refreshes(world, request),
        "DescribeWarmPool" => describe::warm_pool(world, request),
        "SetDesiredCapacity" => set_desired_capacity(world, request, received),
        "UpdateAutoScalingGroup" => update_auto_scaling_group(world, request),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidAction",
            format!("Could not find operation {action} for version 2011-01-01"),
        )),
    }
}

fn set_desired_capacity(world: &mut World, request: &Request, received: Instant) -> Result<Xml, Refusal> {
    let name = request.group()?;
    let desired = request.capacity("DesiredCapacity", "desiredCapacity")?.ok_or_else(|| missing("desiredCapacity"))?;
    let honor_cooldown = request.flag("HonorCooldown").unwrap_or(false);
    world.set_desired_capacity(name, desired, honor_cooldown, received)?;
    Ok(Xml::default())
}

fn update_auto_scaling_group(world: &mut World, request: &Request) -> Result<Xml, Refusal> {
    let update = Update {
        min: request.capacity("MinSize", "minSize")?,
        max: request.capacity("MaxSize", "maxSize")?,
        desired: request.capacity("DesiredCapacity", "desiredCapacity")?,
    };
    let (name, now) = (request.group()?, world.now());
    let fleet = world.fleet_mut(name).ok_or_else(|| GroupError::not_found(name))?;
    fleet.group.update(update, now)?;
    Ok(Xml::default())
}

/// The number of answers of this process, to give each an id of its own.
static ANSWERS: AtomicU64 = AtomicU64::new(0);

fn written(action: &str, answer: Result<Xml, Refusal>) -> Response {
    let id = activity_id(ANSWERS.fetch_add(1, Ordering::Relaxed));
    let mut document = Xml::default();
    let (status, root) = match answer {
        Ok(result) => {
            document.nest(&format!("{action}Result"), &result);
            document.element("ResponseMetadata", |xml| xml.text("RequestId", &id));
            (StatusCode::OK, format!("{action}Response"))
        }
        Err(refusal) => {
            document.element("Error", |xml| {
                xml.text("Type", if refusal.status.is_client_error() { "Sender" } else { "Receiver" });
                xml.text("Code", refusal.code);
                xml.text("Message", &refusal.message);
            });
            document.text("RequestId", &id);
            (refusal.status, "ErrorResponse".to_owned())
        }
    };
    let headers = [(header::CONTENT_TYPE.as_str(), "text/xml"), ("x-amzn-requestid", id.as_str())];
    (status, headers, document.into_document(&root)).into_response()
}
