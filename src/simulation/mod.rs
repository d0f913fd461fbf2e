//! The embedded world: a fleet under a workload, its Auto Scaling group, and the wire face of both.
//!
//! The world itself is pure: time is an argument, and the same sequence of times and calls gives the same world.
//! Only [`wire`] listens, and only on loopback. Nothing here ever reaches beyond this machine.
//!
//! | file | is |
//! |---|---|
//! | [`queue`] | how long requests take at a load: M/M/c and a fluid backlog |
//! | [`plant`] | identical instances that serve arrivals, and what was counted |
//! | [`workload`] | requests per second over time; the ticket sale |
//! | [`group`] | an Auto Scaling group as the service behaves |
//! | [`history`] | what a Prometheus that scrapes the plant would hold |
//! | [`promql`] | queries over that history |
//! | [`faults`] | what can be made to go wrong |
//! | [`world`] | all of these together |
//! | [`wire`] | the protocols of Prometheus and of Auto Scaling |
//!
//! Beside the world stands the reference plant, in which controllers are compared:
//!
//! | file | is |
//! |---|---|
//! | [`trace`] | a recorded workload, scaled and with noise |
//! | [`generator`] | workloads by name |
//! | [`settings`] | what the plant is made of |
//! | [`reference`](mod@reference) | a fleet in steps of 3 s, with any controller |
//! | `fleet`, `server` | its instances, and what they serve |
//! | [`driver`] | a policy as that controller |
//! | [`peers`] | how other autoscalers would decide there |
//! | [`score`] | how well it went |
//! | [`bound`] | what a clairvoyant would have needed, and what the best reactive rule |
//! | [`contest`] | policies and peers on the same workload |

pub mod activity;
pub mod bound;
pub mod contest;
pub mod driver;
pub mod faults;
mod fleet;
pub mod generator;
pub mod group;
pub mod history;
pub mod instance;
pub mod noise;
pub mod peers;
pub mod plant;
#[cfg(feature = "daemon")]
pub mod promql;
pub mod queue;
pub mod reference;
pub mod score;
mod server;
pub mod settings;
pub mod trace;
#[cfg(feature = "daemon")]
pub mod wire;
pub mod workload;
#[cfg(feature = "daemon")]
pub mod world;

pub use faults::{AutoScalingFault, Fault, Faults, LaunchFault, PrometheusFault};
pub use group::{AutoScalingGroup, GroupError, GroupSettings};
#[cfg(feature = "daemon")]
pub use wire::WorldServer;
pub use workload::{Phase, Workload};
#[cfg(feature = "daemon")]
pub use world::{Call, Fleet, Score, World};
