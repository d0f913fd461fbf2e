//! What can go wrong with a call to AWS, in words that are few enough for a metric label.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_autoscaling::config::http::HttpResponse;
use aws_sdk_autoscaling::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::result::DispatchFailure;
use hyper_util::client::legacy::Error as HttpError;
use serde::Serialize;

/// The code that the documentation names for throttling, which the SDK does not know.
pub(super) const RATE_EXCEEDED: &str = "RateExceeded";

/// The most characters of a message of AWS that an error keeps.
const MAX_MESSAGE: usize = 300;

/// A call to AWS that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {kind}{detail}")]
pub struct TargetError {
    call: &'static str,
    kind: ErrorKind,
    class: ErrorClass,
    outcome_unknown: bool,
    detail: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// AWS found the request wrong, such as a capacity outside the group's bounds.
    Validation,
    /// Another change to the group is under way.
    Contention,
    /// A scaling activity is in progress.
    ActivityInProgress,
    /// Too many calls from this account to this region.
    Throttled,
    /// The credentials do not allow the call.
    AccessDenied,
    /// There is no such group.
    NotFound,
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke before the answer: refused, reset, name not found, TLS failed.
    Unreachable,
    /// No credentials, or such as AWS does not accept.
    Credentials,
    /// The answer was not of the protocol: no error code, or not to be parsed.
    NoCode,
    /// Any other error.
    Other,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// It may well work the next time.
    Transient,
    /// It may well work with fewer calls.
    Throttled,
    /// Somebody has to change something first.
    Permanent,
}

impl ErrorKind {
    /// A bounded word for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Contention => "contention",
            Self::ActivityInProgress => "activity-in-progress",
            Self::Throttled => "throttled",
            Self::AccessDenied => "access-denied",
            Self::NotFound => "not-found",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::NoCode => "no-code",
            Self::Other => "other",
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "ValidationError" => Self::Validation,
            "ResourceContention" => Self::Contention,
            "ScalingActivityInProgress" => Self::ActivityInProgress,
            RATE_EXCEEDED => Self::Throttled,
            code if aws_runtime::retries::classifiers::THROTTLING_ERRORS.contains(&code) => Self::Throttled,
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired" => Self::AccessDenied,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "RequestExpired"
            | "AuthFailure" => Self::Credentials,
            _ => Self::Other,
        }
    }

    /// The kind of an HTTP error that carries no code: it came from something in between.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::AccessDenied,
            429 => Self::Throttled,
            _ => Self::NoCode,
        }
    }

    fn class(self) -> ErrorClass {
        match self {
            Self::Throttled => ErrorClass::Throttled,
            Self::Validation | Self::AccessDenied | Self::NotFound | Self::Credentials | Self::Other => {
                ErrorClass::Permanent
            }
            Self::Contention | Self::ActivityInProgress | Self::Timeout | Self::Unreachable | Self::NoCode => {
                ErrorClass::Transient
            }
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validation => "the request is not valid",
            Self::Contention => "another change to the group is under way",
            Self::ActivityInProgress => "a scaling activity is in progress",
            Self::Throttled => "too many calls",
            Self::AccessDenied => "access denied",
            Self::NotFound => "no such group",
            Self::Timeout => "no answer in time",
            Self::Unreachable => "cannot be reached",
            Self::Credentials => "no valid credentials",
            Self::NoCode => "not an answer of Auto Scaling",
            Self::Other => "failed",
        })
    }
}

impl TargetError {
    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The last attempt may have reached AWS and taken effect there.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    pub(super) fn new(call: &'static str, kind: ErrorKind, detail: &str) -> Self {
        Self { call, kind, class: kind.class(), outcome_unknown: false, detail: parenthesis(detail), source: None }
    }

    /// An answer that parsed and yet is not usable; `what` says what was expected.
    pub(super) fn malformed(call: &'static str, what: &str) -> Self {
        Self::new(call, ErrorKind::NoCode, what)
    }

    /// The error of `call`, for [`Result::map_err`].
    pub(super) fn of<E>(call: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        move |error| match &error {
            SdkError::ServiceError(answer) => Self::answered(call, answer.err(), answer.raw().status().as_u16()),
            SdkError::ResponseError(_) => Self::caused(call, ErrorKind::NoCode, true, error),
            SdkError::TimeoutError(_) => Self::caused(call, ErrorKind::Timeout, true, error),
            SdkError::DispatchFailure(failure) => {
                let (kind, sent) = dispatch(failure, &error);
                Self::caused(call, kind, sent, error)
            }
            _ if find::<CredentialsError>(&error).is_some() => Self::caused(call, ErrorKind::Credentials, false, error),
            _ => Self::caused(call, ErrorKind::Other, false, error),
        }
    }

    fn answered(call: &'static str, error: &impl ProvideErrorMetadata, status: u16) -> Self {
        let message = error.message().unwrap_or_default();
        let kind = match error.code() {
            None => ErrorKind::of_status(status),
            // Auto Scaling has no code of its own for an unknown group.
            Some("ValidationError") if message.contains("not found") => ErrorKind::NotFound,
            Some(code) => ErrorKind::of_code(code),
        };
        let failed_inside = status >= 500 && matches!(kind, ErrorKind::Other | ErrorKind::NoCode);
        let garbled = (200..300).contains(&status);
        let detail = match error.code() {
            Some(code) => format!("{code}: {}", message.chars().take(MAX_MESSAGE).collect::<String>()),
            None => format!("HTTP status {status}"),
        };
        let error = Self::new(call, kind, &detail);
        let class = if failed_inside { ErrorClass::Transient } else { error.class };
        Self { class, outcome_unknown: failed_inside || garbled, ..error }
    }

    fn caused<E>(call: &'static str, kind: ErrorKind, outcome_unknown: bool, error: SdkError<E, HttpResponse>) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        let source = error.into_source().ok().map(Arc::from);
        Self { outcome_unknown, source, ..Self::new(call, kind, "") }
    }
}

/// The kind of a failure to get any answer, and whether the request may have been sent.
fn dispatch(failure: &DispatchFailure, error: &(dyn Error + 'static)) -> (ErrorKind, bool) {
    if find::<CredentialsError>(error).is_some() {
        return (ErrorKind::Credentials, false);
    }
    let connecting = find::<HttpError>(error).is_some_and(HttpError::is_connect);
    let kind = if failure.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unreachable };
    (kind, !connecting)
}

fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    std::iter::successors(Some(error), |&error: &&'e (dyn Error + 'static)| error.source())
        .find_map(|error| error.downcast_ref())
}

fn parenthesis(detail: &str) -> Arc<str> {
    if detail.is_empty() { "".into() } else { format!(" ({detail})").into() }
}
