//! Answers of Prometheus and of Auto Scaling, spoilt one way each.
#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::needless_pass_by_value, reason = "every edit of an answer has the same type")]

use serde_json::{Value, json};

use crate::proxy::Answer;

const JSON: &str = "application/json";
const XML: &str = "text/xml";

pub fn empty(_: Answer) -> Answer {
    Answer::new("200 OK", JSON, "")
}

pub fn login(_: Answer) -> Answer {
    Answer::new("200 OK", "text/html", "<html><body>Login</body></html>")
}

pub fn broken_json(answer: Answer) -> Answer {
    Answer::new("200 OK", JSON, answer.text().replace(':', ";"))
}

pub fn null(_: Answer) -> Answer {
    Answer::new("200 OK", JSON, "null")
}

fn data(data: &Value) -> Answer {
    Answer::new("200 OK", JSON, json!({ "status": "success", "data": data }).to_string())
}

pub fn string(_: Answer) -> Answer {
    data(&json!({ "resultType": "string", "result": [0, "0.1"] }))
}

pub fn matrix(_: Answer) -> Answer {
    data(&json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": [[0, "0.1"]] }] }))
}

pub fn oversized(_: Answer) -> Answer {
    Answer::new("200 OK", JSON, vec![b' '; 5 << 20])
}

pub fn gzip(_: Answer) -> Answer {
    Answer::new("200 OK", JSON, [0x1f, 0x8b, 8, 0, 1, 2, 3]).with("content-encoding: gzip")
}

pub fn redirect(_: Answer) -> Answer {
    Answer::new("302 Found", "text/plain", "").with("location: http://127.0.0.1:1/elsewhere")
}

pub fn internal(_: Answer) -> Answer {
    Answer::new("500 Internal Server Error", "text/plain", "internal error")
}

pub fn unavailable(_: Answer) -> Answer {
    Answer::new("503 Service Unavailable", "text/plain", "no healthy upstream").with("retry-after: 1")
}

pub fn too_many(_: Answer) -> Answer {
    Answer::new("429 Too Many Requests", "text/plain", "slow down")
}

pub fn unauthorized(_: Answer) -> Answer {
    Answer::new("401 Unauthorized", "text/plain", "who are you?")
}

pub fn not_found(_: Answer) -> Answer {
    Answer::new("404 Not Found", "text/plain", "404 page not found")
}

pub fn query_error(_: Answer) -> Answer {
    let body = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    Answer::new("422 Unprocessable Entity", JSON, body)
}

pub fn partial(answer: Answer) -> Answer {
    edited(answer, |body| body["warnings"] = json!(["some store nodes are unavailable"]))
}

pub fn edited(answer: Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    let Ok(mut body) = serde_json::from_slice(&answer.body) else { return answer };
    edit(&mut body);
    Answer { body: body.to_string().into(), ..answer }
}

/// What `edit` makes of each point of the answer.
fn points(answer: Answer, edit: impl Fn(&mut Value)) -> Answer {
    edited(answer, |body| {
        for series in body["data"]["result"].as_array_mut().into_iter().flatten() {
            if series["value"].is_array() {
                edit(&mut series["value"]);
            }
        }
    })
}

/// Every number but times.
fn numbers(answer: Answer, edit: impl Fn(f64) -> Value) -> Answer {
    points(answer, |point| {
        let number = point[1].as_str().and_then(|text| text.parse::<f64>().ok());
        if let Some(number) = number.filter(|number| *number < 1e9) {
            point[1] = edit(number);
        }
    })
}

pub fn bare_number(answer: Answer) -> Answer {
    numbers(answer, |number| json!(number))
}

pub fn text(answer: Answer) -> Answer {
    numbers(answer, |_| json!("many"))
}

pub fn hexadecimal(answer: Answer) -> Answer {
    numbers(answer, |_| json!("0x10"))
}

pub fn nan(answer: Answer) -> Answer {
    numbers(answer, |_| json!("NaN"))
}

pub fn infinite(answer: Answer) -> Answer {
    numbers(answer, |_| json!("+Inf"))
}

pub fn minus_infinite(answer: Answer) -> Answer {
    numbers(answer, |_| json!("-Inf"))
}

pub fn negative(answer: Answer) -> Answer {
    numbers(answer, |number| json!((-number).to_string()))
}

pub fn huge(answer: Answer) -> Answer {
    numbers(answer, |_| json!("1.7976931348623157e308"))
}

pub fn zero(answer: Answer) -> Answer {
    numbers(answer, |_| json!("0"))
}

pub fn no_series(answer: Answer) -> Answer {
    edited(answer, |body| body["data"]["result"] = json!([]))
}

pub fn many_series(answer: Answer) -> Answer {
    edited(answer, |body| {
        let one = body["data"]["result"][0].clone();
        body["data"]["result"] = json!(vec![one; 2000]);
    })
}

fn shifted(answer: Answer, seconds: f64) -> Answer {
    points(answer, |point| {
        let sampled = point[1].as_str().and_then(|text| text.parse::<f64>().ok()).filter(|time| *time > 1e9);
        if let Some(sampled) = sampled {
            point[1] = json!((sampled + seconds).to_string());
        }
    })
}

pub fn samples_from_the_future(answer: Answer) -> Answer {
    shifted(answer, 3600.0)
}

pub fn stale_samples(answer: Answer) -> Answer {
    shifted(answer, -3600.0)
}

/// As from a server whose clock is off.
pub fn server_ahead(answer: Answer) -> Answer {
    points(shifted(answer, 3600.0), |point| point[0] = json!(point[0].as_f64().unwrap_or(0.0) + 3600.0))
}

pub fn times_that_are_none(answer: Answer) -> Answer {
    points(answer, |point| point[0] = json!("yesterday"))
}

pub fn broken_xml(answer: Answer) -> Answer {
    Answer::new("200 OK", XML, answer.text().replace("</DesiredCapacity>", "<DesiredCapacity>"))
}

pub fn foreign_xml(_: Answer) -> Answer {
    Answer::new("200 OK", XML, "<?xml version=\"1.0\"?><Maintenance/>")
}

pub fn empty_xml(_: Answer) -> Answer {
    Answer::new("200 OK", XML, "")
}

fn sized(answer: &Answer, size: &str) -> Answer {
    let text = answer.text();
    let mut parts = text.split("<DesiredCapacity>");
    let mut body = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once("</DesiredCapacity>").map_or(part, |(_, rest)| rest);
        body += size;
        body += rest;
    }
    Answer::new("200 OK", XML, body)
}

pub fn size_in_words(answer: Answer) -> Answer {
    sized(&answer, "<DesiredCapacity>four</DesiredCapacity>")
}

pub fn no_size(answer: Answer) -> Answer {
    sized(&answer, "")
}

pub fn negative_size(answer: Answer) -> Answer {
    sized(&answer, "<DesiredCapacity>-1</DesiredCapacity>")
}

pub fn size_beyond_32_bits(answer: Answer) -> Answer {
    sized(&answer, "<DesiredCapacity>4294967298</DesiredCapacity>")
}

/// The instances of each group: `keep` says which, by their number.
pub fn instances(answer: &Answer, keep: impl Fn(usize) -> bool) -> Answer {
    let text = answer.text();
    let mut body = String::new();
    let mut rest = text.as_str();
    while let Some((before, list)) = rest.split_once("<Instances>") {
        let (list, after) = list.split_once("</Instances>").unwrap_or((list, ""));
        let kept = list.split_inclusive("</member>").enumerate().filter(|(n, _)| keep(*n));
        body += before;
        body += "<Instances>";
        body.extend(kept.map(|(_, member)| member));
        body += "</Instances>";
        rest = after;
    }
    Answer::new("200 OK", XML, body + rest)
}

pub fn half_the_instances(answer: Answer) -> Answer {
    instances(&answer, |n| n % 2 == 0)
}

pub fn no_instances(answer: Answer) -> Answer {
    instances(&answer, |_| false)
}

pub fn no_group(answer: Answer) -> Answer {
    let text = answer.text();
    let listed = text.split_once("<AutoScalingGroups>").zip(text.rsplit_once("</AutoScalingGroups>"));
    let Some(((before, _), (_, after))) = listed else { return answer };
    Answer::new("200 OK", XML, format!("{before}<AutoScalingGroups></AutoScalingGroups>{after}"))
}

pub fn endless_pages(answer: Answer) -> Answer {
    let text = answer.text();
    let end = "</DescribeAutoScalingGroupsResult>";
    Answer::new("200 OK", XML, text.replace(end, &format!("<NextToken>after-0</NextToken>{end}")))
}

fn refused(status: &str, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    Answer::new(status, XML, body)
}

pub fn expired_credentials(_: Answer) -> Answer {
    refused("403 Forbidden", "ExpiredToken", "The security token included in the request is expired")
}

pub fn access_denied(_: Answer) -> Answer {
    refused("403 Forbidden", "AccessDenied", "is not authorized to perform this action")
}

pub fn throttled(_: Answer) -> Answer {
    refused("400 Bad Request", "Throttling", "Rate exceeded")
}

pub fn failing_inside(_: Answer) -> Answer {
    refused("500 Internal Server Error", "InternalFailure", "An internal error has occurred")
}

pub fn contended(_: Answer) -> Answer {
    let message = "You already have a pending update to an Amazon EC2 Auto Scaling resource.";
    refused("500 Internal Server Error", "ResourceContention", message)
}

pub fn validation(_: Answer) -> Answer {
    refused("400 Bad Request", "ValidationError", "1 validation error detected")
}
