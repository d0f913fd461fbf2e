//! The core: from what was seen to what should be done, and why.
//!
//! Pure, synchronous and total. It reads no clock, no network and no file, holds no lock, logs nothing and cannot fail;
//! the same policy, state and observation always give the same evaluation. The daemon, the simulator and the replay of
//! history all decide with it.

mod array;
mod boot;
mod curve;
mod evaluation;
mod explanation;
mod latency;
mod noise;
mod number;
mod pid;
mod reason;
mod risk;
mod stages;
mod state;
mod step;
mod window;

pub use evaluation::{Decision, Evaluation, Recommendation, Stage, StageName, StatedReason};
pub use explanation::{Explanation, Subject};
pub use reason::{Bound, Direction, Guard, Reason};
pub use stages::evaluate;
pub use state::{ControllerState, Outcome, Outline, Rejection, settle};
