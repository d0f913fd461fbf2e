//! The core: from what was seen to what should be done, and why.
//!
//! Pure, synchronous and total. It reads no clock, no network and no file, holds no lock, logs nothing and cannot fail;
//! the same policy, state and observation always give the same evaluation. The daemon, the simulator and the replay of
//! history all decide with it.

mod array;
mod boot;
mod brake;
mod curve;
mod evaluation;
mod explanation;
mod guard;
mod latency;
mod noise;
mod number;
mod pid;
mod reason;
mod risk;
mod spending;
mod stages;
mod state;
mod step;
mod window;

pub use evaluation::{Decision, Evaluation, Recommendation, SignalReading, Stage, StageName, StatedReason, Terms};
pub use explanation::{Explanation, Subject};
pub use guard::Guard;
pub use reason::{Bound, Direction, Reason, SpendPeriod};
pub use stages::evaluate;
pub use state::{ControllerState, Outcome, Outline, Rejection, ScaleEvent, settle};
