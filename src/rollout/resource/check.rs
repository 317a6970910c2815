//! check: the digest that really runs, once it runs on every pod.

use super::{Source, Version};
use crate::concourse::Context;
use crate::failure::Failure;
use crate::rollout::driver;

/// Returns the state that the Deployment is in; nothing while its pods differ, so that a pipeline
/// never sees a version that is half there.
pub(super) async fn run(source: &Source, context: &Context) -> Result<Vec<Version>, Failure> {
    source.inspect()?;
    let cluster = source.connect().await?;
    let target = source.target(&cluster);
    if source.debug {
        let version = cluster.version.as_deref().unwrap_or("of unknown version");
        context.log.line(format!("API server {} {version}, namespace {}", cluster.address, target.namespace));
    }
    let running = driver::running(&cluster, &source.registry, &target, &context.log).await?;
    Ok(running.iter().map(Version::from).collect())
}
