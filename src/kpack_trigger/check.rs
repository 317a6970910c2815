//! check: the builds since the version that Concourse knows, from one list.

use super::driver::{Place, steady};
use super::source::Status;
use super::version::{Wanted, since};
use super::{Source, Version};
use crate::concourse::Context;
use crate::failure::Failure;

/// Returns the new builds, oldest first.
pub(super) async fn run(
    source: &Source,
    cursor: Option<&Version>,
    context: &Context,
) -> Result<Vec<Version>, Failure> {
    source.inspect()?;
    let place = Place::find(&source.target(), &context.interrupted).await?;
    if source.debug {
        context.log.line(place.about());
    }
    let builds = steady(async || place.builds().await).await?;
    if builds.is_empty() {
        // An Image that was there once may be made again; one that never was is a misspelling.
        match steady(async || place.image().await).await {
            Err(error) if cursor.is_some() && error.is_no_image() => context.log.line(error),
            answer => drop(answer?),
        }
    }
    let wanted = match source.status {
        Status::Succeeded => Wanted::Succeeded,
        Status::Any => Wanted::Any,
    };
    Ok(since(cursor, wanted, builds))
}
