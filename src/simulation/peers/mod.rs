//! Other autoscalers, as they decide by default, for comparison in the reference plant. Written from their documents
//! and sources; simplified where it says so, and never used to steer a group.

pub mod hpa;

pub use hpa::HorizontalPodAutoscaler;
