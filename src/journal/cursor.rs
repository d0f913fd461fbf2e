//! Where a page of the history ends. The policies of a lane are evaluated at one moment, so a time alone does not say.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The entry after which, from the newest to the oldest, a page begins: `TIME/POLICY`, or a time alone for all that is
/// older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Microseconds since 1970.
    pub(super) at: i64,
    /// Of the entries of this moment, those of policies before this one follow.
    pub(super) policy: String,
}

/// A text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-01-31T08:00:00Z, or what came as next with the page before")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (at, policy) = text.split_once('/').unwrap_or((text, ""));
        let at: Timestamp = at.parse().map_err(|_| NoCursor)?;
        Ok(Self { at: at.as_microsecond(), policy: policy.into() })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every time that was written is within the bounds of one.
        let at = Timestamp::from_microsecond(self.at).unwrap_or_default();
        write!(f, "{at}/{}", self.policy)
    }
}

impl TryFrom<String> for Cursor {
    type Error = NoCursor;

    fn try_from(text: String) -> Result<Self, NoCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}
