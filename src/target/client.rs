//! The client of the AWS SDK: where it gets region and credentials, how long it waits, what it retries.
//!
//! It never calls anything: credentials are fetched by the first call that needs them, within that call's deadline.

use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::Builder;
use aws_sdk_autoscaling::error::ProvideErrorMetadata;
use aws_sdk_autoscaling::operation::describe_auto_scaling_groups::DescribeAutoScalingGroupsError;
use aws_sdk_autoscaling::operation::describe_instance_refreshes::DescribeInstanceRefreshesError;
use aws_sdk_autoscaling::operation::describe_policies::DescribePoliciesError;
use aws_sdk_autoscaling::operation::describe_scaling_activities::DescribeScalingActivitiesError;
use aws_sdk_autoscaling::operation::describe_scheduled_actions::DescribeScheduledActionsError;
use aws_sdk_autoscaling::operation::set_desired_capacity::SetDesiredCapacityError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::calls::Calls;
use super::error::RATE_EXCEEDED;
use super::{ErrorKind, Settings, TargetError};

/// Attempts at one call, the first included.
const MAX_ATTEMPTS: u32 = 3;

/// The longest that one attempt may take: a healthy endpoint answers a page of 100 groups within this.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that connecting may take: a healthy region is much nearer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What `CloudTrail` and STS show as the caller.
const APP_NAME: &str = "setpoint";

pub(super) async fn connect(
    settings: &Settings,
    region: Option<&str>,
    credentials: Option<Credentials>,
    calls: Calls,
) -> Result<Client, TargetError> {
    let shared = shared(settings, find_region(settings, region).await?, credentials).await;
    let mut config = Builder::from(&shared)
        .interceptor(Whole)
        .interceptor(calls)
        .retry_classifier(RateExceeded::<DescribeAutoScalingGroupsError>::new())
        .retry_classifier(RateExceeded::<DescribeInstanceRefreshesError>::new())
        .retry_classifier(RateExceeded::<DescribePoliciesError>::new())
        .retry_classifier(RateExceeded::<DescribeScalingActivitiesError>::new())
        .retry_classifier(RateExceeded::<DescribeScheduledActionsError>::new())
        .retry_classifier(RateExceeded::<SetDesiredCapacityError>::new());
    if let Some(url) = &settings.endpoint_url {
        config = config.endpoint_url(url);
    }
    if let Some(role) = &settings.assume_role {
        let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(APP_NAME).configure(&shared);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        config = config.credentials_provider(provider.build().await);
    }
    Ok(Client::from_conf(config.build()))
}

/// The region of the policy, the settings, the environment or the profile. The SDK would also ask the instance
/// metadata service, which takes seconds where there is none.
async fn find_region(settings: &Settings, region: Option<&str>) -> Result<Region, TargetError> {
    if let Some(region) = region.or(settings.region.as_deref()) {
        return Ok(Region::new(region.to_owned()));
    }
    if let Some(region) = aws_config::environment::region::EnvironmentVariableRegionProvider::new().region().await {
        return Ok(region);
    }
    let profile = match &settings.profile {
        Some(profile) => ProfileFileRegionProvider::builder().profile_name(profile).build(),
        None => ProfileFileRegionProvider::new(),
    };
    let expected = "aws.region is not set, expected a region such as us-east-1";
    profile.region().await.ok_or_else(|| TargetError::new("connecting to AWS", ErrorKind::Validation, expected))
}

async fn shared(settings: &Settings, region: Region, credentials: Option<Credentials>) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(settings.timeout)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT.min(settings.timeout))
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(timeouts);
    if let Ok(name) = AppName::new(APP_NAME) {
        loader = loader.app_name(name);
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    loader.load().await
}

/// Refuses an answer that was cut off, or that lacks a size of a group. The SDK takes what it got of a list for all of
/// it, and a size that is missing for zero; a group that has lost instances looks as though it carried less.
#[derive(Debug)]
struct Whole;

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "the whole answer"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        let body = answer.body().bytes().unwrap_or_default().trim_ascii_end();
        if !answer.status().is_success() || body.is_empty() {
            return Ok(());
        }
        if !body.ends_with(b"Response>") {
            return Err("the answer was cut off".into());
        }
        if sized(&String::from_utf8_lossy(body)) { Ok(()) } else { Err("a group has no size".into()) }
    }
}

/// Whether every group of a description has its three sizes. A warm pool has a `MinSize` of its own.
fn sized(body: &str) -> bool {
    let count = |element| body.matches(element).count();
    let groups = count("<AutoScalingGroupName>");
    !body.contains("<DescribeAutoScalingGroupsResult>")
        || count("<DesiredCapacity>") == groups && count("<MaxSize>") == groups && count("<MinSize>") >= groups
}

/// Retries [`RATE_EXCEEDED`] of one operation as throttling.
#[derive(Debug)]
struct RateExceeded<E>(PhantomData<fn() -> E>);

impl<E> RateExceeded<E> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E: Error + ProvideErrorMetadata + Send + Sync + 'static> ClassifyRetry for RateExceeded<E> {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        match error.and_then(|error| error.downcast_ref::<E>()).and_then(ProvideErrorMetadata::code) {
            Some(RATE_EXCEEDED) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "RateExceeded is throttling"
    }
}
