//! What goes over the wire: the bodies, and the signature.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::hmac;
use serde::Serialize;

use super::{Notice, State, Topic};

/// Notices that a message for people shows; the rest is counted.
const SHOWN: usize = 10;

/// The prefix of a secret that is written in Base64.
const PREFIX: &str = "whsec_";

#[derive(Serialize)]
struct Webhook<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    notices: &'a [Notice],
    /// Notices that were given up since the last message, because there were too many.
    dropped: u64,
}

/// The JSON of a webhook.
pub(super) fn webhook(notices: &[Notice], dropped: u64, now: Timestamp) -> String {
    let body = Webhook { r#type: "setpoint.notices", timestamp: now, data: Data { notices, dropped } };
    serde_json::to_string(&body).unwrap_or_default()
}

/// The JSON of a Slack message.
pub(super) fn slack(notices: &[Notice], dropped: u64) -> String {
    let mut text = String::new();
    for notice in notices.iter().take(SHOWN) {
        let subject = notice.policy.as_deref().unwrap_or("Setpoint");
        let _ = writeln!(text, "{} *{}* {}", sign(notice), escaped(subject), escaped(&notice.text));
    }
    let more = u64::try_from(notices.len().saturating_sub(SHOWN)).unwrap_or(u64::MAX).saturating_add(dropped);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    serde_json::json!({ "text": text.trim_end() }).to_string()
}

/// A word before each line; colour or a picture alone would tell not everybody.
fn sign(notice: &Notice) -> &'static str {
    match (notice.topic, notice.state) {
        (Topic::Failure, State::Ended) => "RECOVERED",
        (Topic::Failure, _) => "FAILURE",
        (Topic::Limit, State::Ended) => "LIMIT over",
        (Topic::Limit, _) => "LIMIT",
        (Topic::Scale, _) => "SCALED",
        (Topic::Order, _) => "ORDER",
    }
}

/// The three signs that Slack reads as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The header `webhook-signature` for a message with this id, time [Unix seconds] and body: HMAC-SHA256 over all three, as
/// <https://www.standardwebhooks.com> has it. A secret that begins with `whsec_` is Base64, any other is taken as it is.
///
/// # Errors
/// Says what the secret should be.
pub(super) fn signature(secret: &str, id: &str, second: i64, body: &str) -> Result<String, String> {
    let bytes = match secret.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "is no Base64 after \"whsec_\"".to_owned())?,
        None => secret.as_bytes().to_vec(),
    };
    if bytes.len() < 24 {
        return Err("is shorter than 24 bytes, expected one such as `openssl rand -hex 32` makes".into());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let tag = hmac::sign(&key, format!("{id}.{second}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(policy: Option<&str>, text: &str) -> Notice {
        Notice {
            at: Timestamp::UNIX_EPOCH,
            topic: Topic::Scale,
            state: State::Happened,
            policy: policy.map(Into::into),
            text: text.into(),
        }
    }

    /// The example of the specification.
    #[test]
    fn a_signature_is_as_the_standard_has_it() {
        let body = r#"{"test": 2432232314}"#;
        let signed = |secret| signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").as_deref(), Ok(expected));
        assert!(signed("whsec_?").is_err());
        assert!(signed("too short").is_err());
    }

    #[test]
    fn a_message_for_people_is_short_and_no_markup_gets_in() {
        let one = slack(&[notice(Some("web"), "3 \u{2192} 5: cpu <!channel> & more")], 0);
        assert_eq!(one, r#"{"text":"SCALED *web* 3 → 5: cpu &lt;!channel&gt; &amp; more"}"#);
        let many: Vec<Notice> = (0..12).map(|_| notice(None, "x")).collect();
        let text = slack(&many, 3);
        assert_eq!(text.matches("SCALED").count(), 10);
        assert!(text.ends_with("and 5 more\"}"), "{text}");
    }

    #[test]
    fn a_webhook_says_all_in_fields() {
        let text = webhook(&[notice(Some("web"), "x")], 0, Timestamp::UNIX_EPOCH);
        let expected = concat!(
            r#"{"type":"setpoint.notices","timestamp":"1970-01-01T00:00:00Z","data":{"notices":[{"#,
            r#""at":"1970-01-01T00:00:00Z","topic":"scale","state":"happened","policy":"web","text":"x"}],"dropped":0}}"#,
        );
        assert_eq!(text, expected);
    }
}
