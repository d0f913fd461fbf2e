//! One instance of a group and where it stands. Data only.

use jiff::Timestamp;

/// The states in which an instance of the group can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Boots until this time.
    Pending {
        /// When it goes into service.
        until: Timestamp,
    },
    /// Serves.
    InService {
        /// Since when.
        since: Timestamp,
    },
    /// Out of service, gone at this time.
    Terminating {
        /// When it is gone.
        until: Timestamp,
    },
}

impl State {
    /// The name of the lifecycle state in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending { .. } => "Pending",
            Self::InService { .. } => "InService",
            Self::Terminating { .. } => "Terminating",
        }
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// When it was launched, and billing began.
    pub launched: Timestamp,
    /// The group's health check passes.
    pub healthy: bool,
    /// The activity that launches or terminates it.
    pub(super) activity: u64,
}

impl Instance {
    /// It counts towards the desired capacity: it is not being terminated.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, State::Terminating { .. })
    }
}
