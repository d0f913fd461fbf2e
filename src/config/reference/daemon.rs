//! The file itself, and the daemon's own settings.

use super::super::notification::TOPICS;
use super::super::policy::INTERVALS;
use super::super::settings::{RETENTION, SIZES, TIMEOUTS};
use super::policy::POLICY;
use super::{BASE_URL, FILE, Keys, NAME, REGION, Rule, URL, Value, optional, preset, required, text, words};

/// The whole file.
pub(super) static ROOT: Keys = Keys {
    keys: &[
        preset("interval", Value::Duration(INTERVALS), r#""15s""#, "Time between two evaluations of a policy."),
        optional(
            "prometheus",
            Value::Table(&PROMETHEUS),
            "The Prometheus that every `query` goes to. Needed wherever there is one.",
        ),
        optional(
            "aws",
            Value::Table(&AWS),
            "How Auto Scaling is reached. Credentials come from where every AWS tool takes them: the environment, the instance's role, the shared files.",
        ),
        optional(
            "http",
            Value::Table(&HTTP),
            "Status page, API and own metrics. Reading on loopback is open to everybody on this machine.",
        ),
        optional(
            "state",
            Value::Table(&STATE),
            "The journal: orders of operators, what was set and decided and why, and what controllers have learned.",
        ),
        optional(
            "notification",
            Value::Tables(&NOTIFICATION, usize::MAX),
            "Whom to tell what. `setpoint notify` tries them all.",
        ),
        required("policy", Value::Tables(&POLICY, usize::MAX), "What one group must be kept at. No two on one group."),
    ],
    rules: &[],
};

static PROMETHEUS: Keys = Keys {
    keys: &[
        required("url", BASE_URL, "The server, such as `\"http://127.0.0.1:9090\"`."),
        preset(
            "timeout",
            Value::Duration(TIMEOUTS),
            r#""3s""#,
            "Deadline of one query, shorter than every interval. Left out, it is at most half of the `interval`.",
        ),
        preset(
            "headers",
            Value::Headers,
            "{}",
            "Sent with every query, such as `{ X-Scope-OrgID = \"team-a\" }`. Credentials are refused here.",
        ),
        optional("bearer_token_file", FILE, "Holds the token to present."),
        optional("basic_auth", Value::Table(&BASIC_AUTH), "The user to present."),
        optional("ca_file", FILE, "Certificate authorities to trust in place of the system's (PEM)."),
        optional(
            "client_certificate",
            Value::Table(&CERTIFICATE),
            "The certificate to present where the server asks for one.",
        ),
    ],
    rules: &[Rule::NotBoth("bearer_token_file", "basic_auth")],
};

static BASIC_AUTH: Keys = Keys {
    keys: &[
        required("username", text("name without a colon", "^[^:]+$"), "The user's name."),
        required("password_file", FILE, "Holds the password."),
    ],
    rules: &[],
};

static CERTIFICATE: Keys = Keys {
    keys: &[
        required("certificate_file", FILE, "The certificate (PEM)."),
        required("key_file", FILE, "Its private key (PEM)."),
    ],
    rules: &[],
};

static AWS: Keys = Keys {
    keys: &[
        optional("region", REGION, "Left out: from `AWS_REGION`, the profile or the instance's metadata."),
        optional(
            "endpoint_url",
            BASE_URL,
            "Another endpoint than the region's own: a VPC endpoint, or a stand-in for tests.",
        ),
        optional("profile", text("text", ""), "A profile of `~/.aws/config`."),
        optional(
            "assume_role_arn",
            text("ARN of a role", "^arn:aws[^:]*:iam::[0-9]{12}:role/.+$"),
            "A role to assume before any call.",
        ),
        optional("external_id", text("text", ""), "The external id that the role's trust policy asks for."),
        preset(
            "timeout",
            Value::Duration(TIMEOUTS),
            r#""5s""#,
            "Deadline of one call with its retries, shorter than every interval. Left out, it is at most half of the `interval`.",
        ),
    ],
    rules: &[Rule::Needs("external_id", "assume_role_arn")],
};

static HTTP: Keys = Keys {
    keys: &[
        preset(
            "listen",
            text("IP address and port", r"^[^:\s]+:[0-9]+$|^\[[^\s]+\]:[0-9]+$"),
            r#""127.0.0.1:9480""#,
            "Where it listens. An address that others reach needs `tls` and at least one `token`.",
        ),
        optional(
            "socket",
            Value::Text { what: "absolute path of at most 100 bytes", pattern: "^/", longest: 100 },
            "Who may write to this file (mode 0660) may command the daemon, without a token. Left out: in the directory that systemd gives by `RuntimeDirectory=`, and where there is none, no socket.",
        ),
        preset(
            "hosts",
            Value::List(&HOST),
            "[]",
            "Names by which clients reach this server, besides its own address. Any other `Host` is refused.",
        ),
        optional("tls", Value::Table(&TLS), "Read again for every connection, so that a renewal needs no restart."),
        optional("token", Value::Tables(&TOKEN, usize::MAX), "Who else may ask."),
    ],
    rules: &[],
};

const HOST: Value = text("host name without a port", "^[A-Za-z0-9._-]{1,253}$");

static TLS: Keys = Keys {
    keys: &[
        required("certificate_file", FILE, "The certificate chain (PEM)."),
        required("key_file", FILE, "Its private key (PEM)."),
    ],
    rules: &[],
};

static TOKEN: Keys = Keys {
    keys: &[
        required("name", NAME, "The owner, whom the journal shows. No two share one."),
        required("role", Value::Word(&["viewer", "operator"]), "A viewer reads, an operator may also command."),
        required(
            "file",
            FILE,
            "Holds a token of at least 32 characters, as `openssl rand -hex 32` makes it. It is read again for every request.",
        ),
    ],
    rules: &[],
};

static STATE: Keys = Keys {
    keys: &[
        optional(
            "path",
            text("absolute path of a directory", "^/"),
            "A directory of this daemon's own. Left out: the one that systemd gives by `StateDirectory=`, and where there is none, no journal.",
        ),
        preset("retention", Value::Duration(RETENTION), r#""30d""#, "How long decisions are kept."),
        preset(
            "max_size",
            Value::Size(SIZES),
            r#""256MB""#,
            "The most that the file should take: the oldest decisions make room.",
        ),
    ],
    rules: &[],
};

static NOTIFICATION: Keys = Keys {
    keys: &[
        required("name", NAME, "In metrics and the log. No two share one."),
        required(
            "kind",
            Value::Word(&["webhook", "slack"]),
            "`slack` sends `{\"text\": …}`, which Slack's incoming webhooks take, and those of others after their model. `webhook` sends JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it.",
        ),
        optional("url", URL, "Where to, if that is no secret."),
        optional("url_file", FILE, "Holds the URL, since whoever knows it may post."),
        optional(
            "secret_file",
            FILE,
            "Holds the secret that messages are signed with: at least 24 bytes as `openssl rand -hex 32` makes them, or `whsec_…` in Base64.",
        ),
        preset(
            "on",
            Value::List(&Value::Word(&words(&TOPICS))),
            r#"["scale", "failure", "limit", "order"]"#,
            "What is told. `scale`: the desired capacity was set. `failure`: blind for two minutes, a call refused, the journal, a reload, a lane. `limit`: held at the maximum while more is wanted. `order` of an operator: begun, ended, expired.",
        ),
        optional("policies", Value::List(&PATTERN), "Of which policies. Left out: of all."),
        preset(
            "per_minute",
            Value::Integer(1..=60),
            "6",
            "The most messages a minute. What happens in between goes with the next.",
        ),
    ],
    rules: &[
        Rule::ExactlyOne(&["url", "url_file"]),
        Rule::Only { keys: &["secret_file"], of: "kind", words: &["webhook"] },
        Rule::Asks { of: "kind", word: "webhook", keys: &["secret_file"] },
    ],
};

const PATTERN: Value =
    text("name of a policy, or beginning of names such as `web-*`", r"^([A-Za-z0-9_-]{1,64}[*]?|[*])$");
