//! A policy over its owner's own history: what was measured becomes the demand that was, and the policy is replayed on it.
//!
//! Pure: it takes samples and gives a report, and reads no clock, no server and no file.
//!
//! | file | is |
//! |---|---|
//! | [`history`] | what was measured |
//! | [`demand`] | the load that must have been behind it, and where that can't be known |
//! | [`replay`](mod@replay) | who would have done what |

pub mod demand;
pub mod history;
pub mod replay;

pub use demand::Unknowable;
pub use history::{History, Samples};
pub use replay::{Question, replay};
