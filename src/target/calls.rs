//! Counts the calls that were made: of which operation, with which status, and how long they took. Every attempt counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use crate::observation::Tallies;

/// Counts the calls of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<Tallies>>);

impl Calls {
    /// What was counted so far.
    pub fn tallies(&self) -> Tallies {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, operation: &str, status: u16, time: Duration) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.entry((operation.into(), status)).or_default().add(time);
    }
}

/// When an attempt began.
#[derive(Debug)]
struct Begun(Instant);

impl Storable for Begun {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "the count of calls"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        around: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        around.interceptor_state().store_put(Begun(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        around: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let time = around.load::<Begun>().map_or(Duration::ZERO, |begun| begun.0.elapsed());
        let operation = around.load::<Metadata>().map_or("unknown", Metadata::name);
        self.count(operation, context.response().map_or(0, |response| response.status().as_u16()), time);
        Ok(())
    }
}
