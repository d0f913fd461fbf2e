//! Stub.
use std::time::Duration;
use jiff::Timestamp;
use super::{Answer, SourceError};
use crate::observation::{Failure, Measurement};
use crate::policy::Scrape;
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_hours(1);
#[derive(Debug)]
pub(super) struct Pages;
impl Pages {
    pub fn new() -> Result<Self, SourceError> { Ok(Self) }
    pub async fn read(&self, _: &Scrape, _: Timestamp) -> Result<Measurement, Answer> {
        Err(Answer::failed(Failure::Unreachable, "not yet"))
    }
}
