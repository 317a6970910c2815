//! check: the digest that really runs, once it runs on every pod.

use super::{Source, Version};
use crate::concourse::Context;
use crate::failure::Failure;
use crate::registry::Ambient;
use crate::rollout::driver;
use crate::rollout::several::Together;

/// Returns the state that the workloads are in; nothing while pods differ, or one workload from another,
/// so that a pipeline never sees a version that is half there.
pub(super) async fn run(source: &Source, context: &Context) -> Result<Vec<Version>, Failure> {
    source.inspect()?;
    let cluster = source.connect().await?;
    let targets = source.targets(&cluster).await?;
    if source.debug {
        let version = cluster.version.as_deref().unwrap_or("of unknown version");
        context
            .log
            .line(format!("API server {} {version}, namespace {}", cluster.address, cluster.namespace));
    }
    let registry = source.registry.access(&Ambient::of(&context.variables));
    let mut all = Vec::new();
    for target in targets {
        let running = driver::running(&cluster, &registry, &target, &context.log).await?;
        let Some(running) = running else { return Ok(Vec::new()) };
        all.push((target.name, running));
    }
    Ok(Together::of(&all).into_iter().map(Version::from).collect())
}
