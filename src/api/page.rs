//! The status page: plain HTML made here, which needs no script and reloads itself.

use std::fmt::{self, Display, Write};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::View;
use crate::control::{Decision, Evaluation, Outcome};
use crate::observation::{Measurement, elapsed};
use crate::policy::{Capacity, MetricKind};
use crate::status::{MetricStatus, PolicyStatus, Snapshot};

const STYLE: &str = include_str!("style.css");

pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

pub(super) async fn index(State(view): State<View>) -> Response {
    let mut page = String::new();
    // Writing to a string can't fail.
    let _ = write_page(&mut page, &view.reader.borrow(), view.clock.now());
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn write_page(page: &mut String, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    page.write_str(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Setpoint</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"refresh\" content=\"5\">\
         <link rel=\"stylesheet\" href=\"/style.css\"></head><body><main><h1>Setpoint</h1>",
    )?;
    write_health(page, snapshot, now)?;
    write_fleet(page, snapshot, now)?;
    for policy in snapshot.policies.values() {
        write_policy(page, policy)?;
    }
    page.write_str("</main></body></html>")
}

fn write_health(page: &mut String, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let configuration = &snapshot.configuration;
    let (class, readiness) = match snapshot.readiness(now) {
        Ok(()) => ("good", "Every lane finishes its cycles in time.".to_owned()),
        Err(why) => ("bad", format!("Not ready: {why}.")),
    };
    write!(page, "<p class=\"sub\"><span class=\"{class}\">{}</span> ", Text(readiness))?;
    write!(page, "Version {}, up since {}, ", env!("CARGO_PKG_VERSION"), Moment(snapshot.started))?;
    write!(page, "configuration {} of {}.</p>", Text(&configuration.file), Moment(configuration.loaded))?;
    if let Some(error) = &configuration.reload_error {
        write!(
            page,
            "<p class=\"bad\">The last reload was refused; the configuration above is in force. {}</p>",
            Text(error)
        )?;
    }
    Ok(())
}

fn write_fleet(page: &mut String, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    page.write_str(
        "<div class=\"scroll\"><table><thead><tr><th>Policy</th><th>Mode</th><th>Measured against target</th>\
         <th class=\"number\">Desired</th><th class=\"number\">In service</th><th class=\"number\">Pending</th>\
         <th class=\"number\">Bounds</th><th>Now</th><th>Last action</th></tr></thead><tbody>",
    )?;
    for policy in snapshot.policies.values() {
        write_row(page, policy, now)?;
    }
    page.write_str("</tbody></table></div>")
}

fn write_row(page: &mut String, policy: &PolicyStatus, now: Timestamp) -> fmt::Result {
    let name = Text(&policy.name);
    write!(
        page,
        "<tr><td><a href=\"#policy-{name}\">{name}</a><br><span class=\"muted\">{}</span></td>",
        Text(&policy.asg)
    )?;
    write!(page, "<td>{}</td><td>", policy.mode)?;
    for metric in &policy.metrics {
        write_metric(page, metric)?;
    }
    page.write_str("</td>")?;
    let counts = policy.group.map(|group| [group.desired, group.in_service, group.pending]);
    for place in 0..3 {
        match counts {
            Some(counts) => write!(page, "<td class=\"number\">{}</td>", counts[place])?,
            None => page.write_str("<td class=\"number bad\">unknown</td>")?,
        }
    }
    write!(page, "<td class=\"number\">{} to {}</td><td>", policy.min, policy.max)?;
    write_now(page, policy)?;
    page.write_str("</td><td>")?;
    write_action(page, policy, now)?;
    page.write_str("</td></tr>")
}

fn write_metric(page: &mut String, metric: &MetricStatus) -> fmt::Result {
    let target = Quantity(metric, metric.target);
    write!(page, "{} ", Text(&metric.name))?;
    match metric.measurement {
        Some(Measurement::Value { value, .. }) if value > metric.target && metric.kind != MetricKind::Total => {
            write!(page, "<span class=\"warn\">{}</span> / {target} (above)", Quantity(metric, value))?;
        }
        Some(Measurement::Value { value, .. }) => write!(page, "{} / {target}", Quantity(metric, value))?,
        Some(other) => write!(page, "<span class=\"bad\">{}</span> / {target}", Text(other))?,
        None => write!(page, "<span class=\"muted\">not read yet</span> / {target}")?,
    }
    page.write_str("<br>")
}

fn write_now(page: &mut String, policy: &PolicyStatus) -> fmt::Result {
    match policy.decision() {
        Some(Decision::Scale { from, to }) => write!(page, "<strong>scale {from} to {to}</strong>: ")?,
        Some(Decision::Hold) => page.write_str("hold: ")?,
        None => page.write_str("<span class=\"muted\">not evaluated yet</span>")?,
    }
    write!(page, "{}", Text(policy.because.as_deref().unwrap_or_default()))?;
    if let Some(detail) = &policy.group_detail {
        write!(page, "<br><span class=\"bad\">{}</span>", Text(detail))?;
    }
    Ok(())
}

fn write_action(page: &mut String, policy: &PolicyStatus, now: Timestamp) -> fmt::Result {
    let Some(action) = &policy.last_action else { return page.write_str("<span class=\"muted\">none</span>") };
    let ago = elapsed(action.at, now).as_secs();
    write!(page, "{} to {}, {ago} s ago", action.from, action.to)?;
    match action.outcome {
        Outcome::Applied | Outcome::NoOp => Ok(()),
        Outcome::Rejected(_) => write!(page, "<br><span class=\"bad\">refused: {}</span>", Text(error(action))),
        Outcome::Unknown => write!(page, "<br><span class=\"warn\">outcome unknown: {}</span>", Text(error(action))),
    }
}

fn error(action: &crate::status::Action) -> &str {
    action.error.as_deref().unwrap_or_default()
}

fn write_policy(page: &mut String, policy: &PolicyStatus) -> fmt::Result {
    let name = Text(&policy.name);
    write!(page, "<section><h2 id=\"policy-{name}\">{name}</h2>")?;
    let Some(evaluation) = &policy.evaluation else {
        return page.write_str("<p class=\"muted\">Not evaluated yet.</p></section>");
    };
    write!(page, "<p class=\"sub\">Evaluated at {}.", Moment(evaluation.at))?;
    for metric in policy.metrics.iter().filter(|metric| metric.detail.is_some()) {
        let detail = metric.detail.as_deref().unwrap_or_default();
        write!(page, " <span class=\"bad\">{}: {}</span>", Text(&metric.name), Text(detail))?;
    }
    page.write_str("</p>")?;
    write_stages(page, evaluation)?;
    page.write_str("</section>")
}

fn write_stages(page: &mut String, evaluation: &Evaluation) -> fmt::Result {
    page.write_str(
        "<div class=\"scroll\"><table><thead><tr><th>Stage</th><th class=\"number\">In</th><th class=\"number\">Out</th>\
         <th>Says</th></tr></thead><tbody>",
    )?;
    for stage in &evaluation.stages {
        write_capacity_row(page, &format!("{:?}", stage.stage), stage.before, stage.after)?;
        for stated in evaluation.reasons.iter().filter(|stated| stated.stage == stage.stage) {
            write!(page, "{}<br>", Text(&stated.reason))?;
        }
        page.write_str("</td></tr>")?;
    }
    page.write_str("</tbody></table></div>")
}

fn write_capacity_row(page: &mut String, stage: &str, before: Capacity, after: Capacity) -> fmt::Result {
    let after = if before == after { after.to_string() } else { format!("<strong>{after}</strong>") };
    write!(page, "<tr><td>{stage}</td><td class=\"number\">{before}</td><td class=\"number\">{after}</td><td>")
}

/// A value in the metric's unit.
struct Quantity<'a>(&'a MetricStatus, f64);

impl Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(metric, value) = self;
        match metric.kind {
            MetricKind::Utilization if metric.target <= 1.5 => write!(f, "{:.0} %", value * 100.0),
            MetricKind::Utilization => write!(f, "{value:.0} %"),
            MetricKind::Total => write!(f, "{value:.0}"),
            MetricKind::Latency => write!(f, "{:.0} ms", value * 1000.0),
        }
    }
}

/// A moment to the second, in UTC.
struct Moment(Timestamp);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%d %H:%M:%S UTC"))
    }
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
