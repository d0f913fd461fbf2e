//! The status page for readers without scripts: plain HTML made here, which is of the moment that it names.

use std::fmt::{self, Display, Write};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::View;
use super::words::{Moment, Quantity, Reading, Span, Trouble, ratio, troubles};
use crate::control::{Decision, Evaluation, Outcome, Stage};
use crate::observation::{Measurement, elapsed};
use crate::status::{Action, MetricStatus, PolicyStatus, Snapshot};

/// The most policies on one page; those in trouble come first. The API has all of them.
const MOST_POLICIES: usize = 200;

/// The status page for readers without scripts.
#[utoipa::path(get, path = "/plain", tag = "page", responses((status = OK, body = String, content_type = "text/html")))]
pub(super) async fn index(State(view): State<View>) -> Response {
    let mut page = String::new();
    // Writing to a string can't fail.
    let _ = write_page(&mut page, &view.snapshot(), view.clock.now());
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// A policy, and what keeps it from doing its work.
type Row<'a> = (&'a PolicyStatus, Vec<Trouble>);

fn write_page(page: &mut String, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let mut rows: Vec<Row> = snapshot.policies.values().map(|policy| (&**policy, troubles(policy, now))).collect();
    // The sort is stable, so the names stay in their order.
    rows.sort_by_key(|(_, troubles)| troubles.is_empty());
    let troubled = rows.iter().filter(|(_, troubles)| !troubles.is_empty()).count();
    write_head(page, troubled)?;
    write_health(page, snapshot, now)?;
    write_sum(page, rows.len(), troubled)?;
    rows.truncate(MOST_POLICIES);
    write_fleet(page, &rows, now)?;
    for row in &rows {
        write_policy(page, row, now)?;
    }
    page.write_str("</main></body></html>")
}

/// The title is what can be seen of a page among many.
fn write_head(page: &mut String, troubled: usize) -> fmt::Result {
    page.write_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Setpoint")?;
    if troubled > 0 {
        write!(page, ": {troubled} in trouble")?;
    }
    page.write_str(
        "</title><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/site/plain.css\"></head>\
         <body><main><h1>Setpoint</h1>",
    )
}

fn write_health(page: &mut String, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let configuration = &snapshot.configuration;
    let (class, readiness) = match snapshot.readiness(now) {
        Ok(()) => ("good", "Every lane finishes its cycles in time.".to_owned()),
        Err(why) => ("bad", format!("Not ready: {why}.")),
    };
    write!(page, "<p class=\"{class}\">{}</p>", Text(readiness))?;
    if let Some(error) = &configuration.reload_error {
        let introduction = "The last reload was refused, so the configuration before it is still in force:";
        write!(page, "<p class=\"bad\">{introduction}</p><pre>{}</pre>", Text(error))?;
    }
    write!(page, "<p class=\"muted\">As of {}: version {}, up for ", Moment(now), env!("CARGO_PKG_VERSION"))?;
    write!(page, "{}. Configuration: {}, ", Span(elapsed(snapshot.started, now)), Text(&configuration.file))?;
    write!(page, "in force for {}.</p>", Span(elapsed(configuration.loaded, now)))
}

fn write_sum(page: &mut String, count: usize, troubled: usize) -> fmt::Result {
    write!(page, "<p>{count} {}. ", if count == 1 { "policy" } else { "policies" })?;
    match troubled {
        0 => page.write_str("<span class=\"good\">None is in trouble.</span>")?,
        troubled => write!(page, "<span class=\"bad\">In trouble: {troubled}, listed first.</span>")?,
    }
    if count > MOST_POLICIES {
        write!(page, " This page shows {MOST_POLICIES} of them.")?;
    }
    page.write_str(
        "</p><p class=\"muted\"><a href=\"/\">The live page</a> needs scripts. As JSON: <a href=\"/api/v1/status\">status</a>, \
         <a href=\"/api/v1/policies\">all policies</a>. For Prometheus: <a href=\"/metrics\">metrics</a>.</p>",
    )
}

fn write_fleet(page: &mut String, rows: &[Row], now: Timestamp) -> fmt::Result {
    page.write_str(
        "<table class=\"fleet\"><caption>Policies; counts are instances</caption><thead><tr>\
         <th scope=\"col\">Policy</th><th scope=\"col\">Mode</th><th scope=\"col\">Measured against target</th>\
         <th scope=\"col\" class=\"number\">Desired</th><th scope=\"col\" class=\"number\">In service</th>\
         <th scope=\"col\" class=\"number\">Pending</th><th scope=\"col\">Decision</th>\
         <th scope=\"col\">Last action</th></tr></thead><tbody>",
    )?;
    for row in rows {
        write_row(page, row, now)?;
    }
    page.write_str("</tbody></table>")
}

fn write_row(page: &mut String, (policy, troubles): &Row, now: Timestamp) -> fmt::Result {
    let name = Text(&policy.name);
    write!(page, "<tr><th scope=\"row\" class=\"name\"><a href=\"#policy-{name}\">{name}</a>")?;
    write!(page, "<br><span class=\"muted\">{}</span>", Text(&policy.asg))?;
    let mut kinds: Vec<&str> = troubles.iter().map(|trouble| trouble.kind).collect();
    kinds.dedup();
    for kind in kinds {
        write!(page, "<br><span class=\"bad\">{kind}</span>")?;
    }
    write!(page, "</th><td data-label=\"Mode\">{}</td><td data-label=\"Measured\">", policy.mode)?;
    for metric in &policy.metrics {
        write_metric(page, policy, metric)?;
    }
    page.write_str("</td>")?;
    write_counts(page, policy)?;
    page.write_str("<td data-label=\"Decision\" class=\"says\">")?;
    write_decision(page, policy)?;
    page.write_str("</td><td data-label=\"Last action\">")?;
    write_action(page, policy.last_action.as_ref(), now)?;
    page.write_str("</td></tr>")
}

fn write_metric(page: &mut String, policy: &PolicyStatus, metric: &MetricStatus) -> fmt::Result {
    let (class, relation) = match metric.measurement {
        None => ("muted", "target"),
        Some(Measurement::Value { .. }) if ratio(policy, metric).is_some_and(|ratio| ratio > 1.0) => {
            ("warn", "above its target of")
        }
        Some(Measurement::Value { .. }) => ("value", "target"),
        Some(_) => ("bad", "target"),
    };
    let (name, reading, target) = (Text(&metric.name), Text(Reading(policy, metric)), Quantity(metric, metric.target));
    write!(page, "<div>{name} <span class=\"{class}\">{reading}</span>, {relation} {target}</div>")
}

fn write_counts(page: &mut String, policy: &PolicyStatus) -> fmt::Result {
    let Some(group) = policy.group else {
        return ["Desired", "In service", "Pending"]
            .iter()
            .try_for_each(|label| write!(page, "<td data-label=\"{label}\" class=\"number muted\">unknown</td>"));
    };
    write!(page, "<td data-label=\"Desired\" class=\"number\">{}", group.desired)?;
    write!(page, "<div class=\"muted\">min {}, max {}</div></td>", policy.min, policy.max)?;
    write!(page, "<td data-label=\"In service\" class=\"number\">{}", group.in_service)?;
    if group.warm < group.in_service {
        write!(page, "<div class=\"muted\">{} warm</div>", group.warm)?;
    }
    if group.healthy < group.in_service {
        write!(page, "<div class=\"bad\">{} healthy</div>", group.healthy)?;
    }
    write!(page, "</td><td data-label=\"Pending\" class=\"number\">{}</td>", group.pending)
}

fn write_decision(page: &mut String, policy: &PolicyStatus) -> fmt::Result {
    match policy.decision() {
        Some(Decision::Scale { from, to }) => write!(page, "<strong>scale {from} to {to}</strong>: ")?,
        Some(Decision::Hold) => page.write_str("hold: ")?,
        None if policy.because.is_none() => page.write_str("<span class=\"muted\">not evaluated yet</span>")?,
        None => {}
    }
    write!(page, "{}", Text(policy.because.as_deref().unwrap_or_default()))
}

fn write_action(page: &mut String, action: Option<&Action>, now: Timestamp) -> fmt::Result {
    let Some(action) = action else { return page.write_str("<span class=\"muted\">none</span>") };
    write!(page, "{} to {}, {} ago", action.from, action.to, Span(elapsed(action.at, now)))?;
    match action.outcome {
        Outcome::Applied | Outcome::NoOp => Ok(()),
        Outcome::Rejected(_) => page.write_str("<div class=\"bad\">refused</div>"),
        Outcome::Unknown => page.write_str("<div class=\"warn\">outcome unknown</div>"),
    }
}

fn write_policy(page: &mut String, (policy, troubles): &Row, now: Timestamp) -> fmt::Result {
    let name = Text(&policy.name);
    write!(page, "<section id=\"policy-{name}\"><h2>{name}</h2><p class=\"muted\">")?;
    match &policy.evaluation {
        Some(Evaluation { at, .. }) => write!(page, "Evaluated {}, {} ago", Moment(*at), Span(elapsed(*at, now)))?,
        None => page.write_str("Not evaluated yet")?,
    }
    let interval = Span(policy.interval);
    write!(page, ", due every {interval}. <a href=\"/api/v1/policies/{name}\">{name} as JSON</a></p>")?;
    if !troubles.is_empty() {
        page.write_str("<ul>")?;
        for Trouble { kind, says } in troubles {
            write!(page, "<li><span class=\"bad\">{kind}</span> {}</li>", Text(says))?;
        }
        page.write_str("</ul>")?;
    }
    for metric in &policy.metrics {
        if let Some(detail) = &metric.detail {
            write!(page, "<p>The source of {} says: {}</p>", Text(&metric.name), Text(detail))?;
        }
    }
    if let Some(Action { at, from, to, because, .. }) = &policy.last_action {
        write!(page, "<p>Last action: {from} to {to} at {}, since {}</p>", Moment(*at), Text(because))?;
    }
    policy.evaluation.as_ref().map_or(Ok(()), |evaluation| write_stages(page, evaluation))?;
    page.write_str("</section>")
}

/// Without stages, where the group is unknown, the list of troubles has said everything.
fn write_stages(page: &mut String, evaluation: &Evaluation) -> fmt::Result {
    if evaluation.stages.is_empty() {
        return Ok(());
    }
    page.write_str(
        "<table><caption>The last decision, stage by stage, in instances</caption><thead><tr>\
         <th scope=\"col\">Stage</th><th scope=\"col\" class=\"number\">In</th>\
         <th scope=\"col\" class=\"number\">Out</th><th scope=\"col\">Says</th></tr></thead><tbody>",
    )?;
    evaluation.stages.iter().try_for_each(|stage| write_stage(page, evaluation, stage))?;
    page.write_str("</tbody></table>")
}

fn write_stage(page: &mut String, evaluation: &Evaluation, stage: &Stage) -> fmt::Result {
    let Stage { stage: name, before, after } = stage;
    let class = if before == after { "" } else { " class=\"changed\"" };
    // The word that the API has for it.
    let name = json!(name);
    let name = name.as_str().unwrap_or_default();
    write!(page, "<tr{class}><td>{name}</td><td class=\"number\">{before}</td><td class=\"number\">{after}</td><td>")?;
    for stated in evaluation.reasons.iter().filter(|stated| stated.stage == stage.stage) {
        write!(page, "<div>{}</div>", Text(&stated.reason))?;
    }
    page.write_str("</td></tr>")
}

/// Text from anywhere, which a page may hold.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            other => self.0.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_not_become_markup() {
        assert_eq!(Text("<script>'\"&").to_string(), "&lt;script&gt;&#39;&quot;&amp;");
    }
}
