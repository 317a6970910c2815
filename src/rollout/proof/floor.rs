//! The fewest ready endpoints that each Service ever had, in all and by zone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::ResourceExt;
use serde::Serialize;

use crate::rollout::observe::{Snapshot, labels};

/// The endpoints of one Service. Pods count once, in however many slices they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// The Service's name.
    pub service: String,
    /// How many were ready when it began.
    pub initial: usize,
    /// The fewest pods that were wanted meanwhile.
    pub wanted: usize,
    /// The fewest that were ready.
    pub floor: usize,
    /// Whether that is as many as there had to be: those from the beginning, or all that were wanted.
    pub held: bool,
    /// The same by zone, where endpoints have more than one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, Zone>,
}

/// The endpoints of one Service in one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// How many were ready when it began.
    pub initial: usize,
    /// The fewest that were ready.
    pub floor: usize,
    /// Whether traffic is kept in its zone.
    pub hinted: bool,
}

impl Floor {
    pub(super) fn warning(&self) -> Option<String> {
        let due = self.initial.min(self.wanted);
        (!self.held).then(|| {
            format!(
                "service {} had only {} ready endpoints for a while, and {due} were due: `drain: auto` or \
                 `maxUnavailable: 0` adds pods before it removes any",
                self.service, self.floor
            )
        })
    }

    /// A zone without endpoints loses requests only where traffic is kept in its zone.
    pub(super) fn zone_warnings(&self) -> impl Iterator<Item = String> {
        let empty = self.zones.iter().filter(|(_, zone)| zone.hinted && zone.initial > 0 && zone.floor == 0);
        empty.map(|(name, _)| {
            format!(
                "service {} had no ready endpoint in zone {name} for a while, and it keeps traffic in its zone: \
                 spread the pods over zones with `topologySpreadConstraints`",
                self.service
            )
        })
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} ({})", self.floor, self.initial.min(self.wanted), self.service)
    }
}

/// The floors of all Services that send traffic to old or new pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors {
    known: BTreeMap<String, Floor>,
}

impl Floors {
    pub(super) fn look(&mut self, snapshot: &Snapshot) {
        if snapshot.routing.is_none() {
            return;
        }
        let wanted = snapshot.wanted();
        for service in services(snapshot).into_iter().chain(self.known.keys().cloned().collect::<Vec<_>>()) {
            let (ready, zones) = count(snapshot, &service);
            let floor = self.known.entry(service.clone()).or_insert_with(|| Floor {
                service,
                initial: ready,
                wanted,
                floor: ready,
                held: true,
                zones: BTreeMap::new(),
            });
            floor.wanted = floor.wanted.min(wanted);
            floor.floor = floor.floor.min(ready);
            // What is due may sink while the rollout goes on; a floor that was broken stays so.
            floor.held &= ready >= floor.initial.min(floor.wanted);
            for (name, (ready, hinted)) in &zones {
                let fresh = Zone { initial: *ready, floor: *ready, hinted: *hinted };
                let zone = floor.zones.entry(name.clone()).or_insert(fresh);
                zone.hinted |= hinted;
            }
            for (name, zone) in &mut floor.zones {
                zone.floor = zone.floor.min(zones.get(name).map_or(0, |(ready, _)| *ready));
            }
        }
    }

    pub(super) fn report(&self) -> Vec<Floor> {
        let one_zone_is_none = |floor: &Floor| match floor.zones.len() {
            0 | 1 => Floor { zones: BTreeMap::new(), ..floor.clone() },
            _ => floor.clone(),
        };
        self.known.values().map(one_zone_is_none).collect()
    }
}

/// Returns the names of the Services that select new or old pods.
fn services(snapshot: &Snapshot) -> BTreeSet<String> {
    let template = snapshot.template_labels();
    let all = std::iter::once(&template).chain(snapshot.own_pods().map(|pod| labels(&pod.metadata)));
    all.flat_map(|labels| snapshot.services(labels)).map(ResourceExt::name_any).collect()
}

/// Returns how many pods are ready for the Service, and how many of them in each zone, with whether
/// traffic is kept there.
fn count(snapshot: &Snapshot, service: &str) -> (usize, BTreeMap<String, (usize, bool)>) {
    let mut pods = BTreeSet::new();
    let mut zones: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for endpoint in snapshot.endpoints_of(service) {
        let is_ready = endpoint.conditions.as_ref().and_then(|all| all.ready).unwrap_or(true);
        let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref());
        let (true, Some(uid)) = (is_ready, uid) else { continue };
        if pods.insert(uid)
            && let Some(zone) = &endpoint.zone
        {
            let (ready, hinted) = zones.entry(zone.clone()).or_default();
            *ready += 1;
            *hinted |= endpoint
                .hints
                .as_ref()
                .and_then(|hints| hints.for_zones.as_ref())
                .is_some_and(|all| !all.is_empty());
        }
    }
    (pods.len(), zones)
}
