//! Kubernetes quantities, and what a pod asks for. A quantity is kept in thousandths, as the finest that
//! anybody writes; what is finer is rounded up, as the API server does.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts by resource name, in thousandths.
pub type Amounts = BTreeMap<String, i128>;

/// Reads `500m`, `1.5Gi`, `2e3`, `1E` and the like as thousandths.
#[must_use]
pub fn read(text: &str) -> Option<i128> {
    let end =
        text.find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, tens) = scale(suffix)?;
    let tens = tens + 3 - i32::try_from(fraction.len()).ok()?;
    let value = mantissa.checked_mul(factor)?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    let scaled = if tens >= 0 { value.checked_mul(power)? } else { round_up(value, power) };
    Some(sign * scaled)
}

fn round_up(value: i128, by: i128) -> i128 {
    value / by + i128::from(value % by != 0)
}

/// Returns the factor and the power of ten that a suffix means. `E` alone is exa; before a number it
/// is an exponent.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// Returns a quantity as people write it.
#[must_use]
pub fn show(resource: &str, thousandths: i128) -> String {
    if resource.contains("memory") || resource.contains("storage") {
        let bytes = thousandths / 1000;
        let units = [("Gi", 1_i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
        let unit = units.into_iter().find(|(_, size)| bytes >= *size && bytes % size == 0);
        return unit.map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size));
    }
    if thousandths % 1000 == 0 { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

/// Reads a list of the API; what cannot be read is not there.
#[must_use]
pub fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let read = |(name, quantity): (&String, &Quantity)| Some((name.clone(), read(&quantity.0)?));
    quantities.into_iter().flatten().filter_map(read).collect()
}

/// What a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What is set aside for it.
    pub requests: Amounts,
    /// What it may use at most.
    pub limits: Amounts,
    /// Resources that some container does not request, of those that quotas are about.
    pub unrequested: Vec<&'static str>,
    /// Resources that some container has no limit for.
    pub unlimited: Vec<&'static str>,
}

/// Adds up what a pod asks for: its containers and sidecars together, or its largest init container.
#[must_use]
pub fn demand(spec: &PodSpec, defaults: &[LimitRange]) -> Demand {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let (sidecars, once): (Vec<&Container>, Vec<&Container>) = init.iter().partition(is_sidecar);
    let mut demand = Demand::default();
    for container in spec.containers.iter().chain(sidecars) {
        let (requests, limits) = of_container(container, defaults);
        add(&mut demand.requests, &requests);
        add(&mut demand.limits, &limits);
    }
    for container in once {
        let (requests, limits) = of_container(container, defaults);
        raise(&mut demand.requests, &requests);
        raise(&mut demand.limits, &limits);
    }
    add(&mut demand.requests, &amounts(spec.overhead.as_ref()));
    for resource in ["cpu", "memory"] {
        let of_all = || spec.containers.iter().map(|container| of_container(container, defaults));
        if of_all().any(|(requests, _)| !requests.contains_key(resource)) {
            demand.unrequested.push(resource);
        }
        if of_all().any(|(_, limits)| !limits.contains_key(resource)) {
            demand.unlimited.push(resource);
        }
    }
    demand
}

/// A limit without a request is a request too; then come the namespace's defaults.
fn of_container(container: &Container, defaults: &[LimitRange]) -> (Amounts, Amounts) {
    let resources = container.resources.as_ref();
    let mut limits = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    let mut requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    let ranges = defaults.iter().filter_map(|range| range.spec.as_ref()).flat_map(|spec| &spec.limits);
    for range in ranges.filter(|range| range.type_ == "Container") {
        fill(&mut requests, &limits);
        fill(&mut limits, &amounts(range.default.as_ref()));
        fill(&mut requests, &amounts(range.default_request.as_ref()));
    }
    fill(&mut requests, &limits);
    (requests, limits)
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += amount;
    }
}

fn raise(total: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let entry = total.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

fn fill(amounts: &mut Amounts, defaults: &Amounts) {
    for (name, amount) in defaults {
        amounts.entry(name.clone()).or_insert(*amount);
    }
}

/// Returns how many pods that ask for `demand` fit on a node beside those that are there.
#[must_use]
pub fn room(node: &Node, pods: &[Pod], demand: &Demand) -> i128 {
    let mut free = amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let is_here = |pod: &&Pod| {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == node.metadata.name.as_ref()
    };
    for pod in pods.iter().filter(is_here) {
        let used = pod.spec.as_ref().map(|spec| self::demand(spec, &[]).requests).unwrap_or_default();
        for (name, amount) in used.into_iter().chain([("pods".to_owned(), 1000)]) {
            *free.entry(name).or_default() -= amount;
        }
    }
    let needed =
        demand.requests.iter().map(|(name, amount)| (name.as_str(), *amount)).chain([("pods", 1000)]);
    let fits = needed.filter(|(_, amount)| *amount > 0);
    fits.map(|(name, amount)| free.get(name).copied().unwrap_or(0).max(0) / amount).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::mk;

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        for (text, wanted) in [
            ("1", Some(1000)),
            ("500m", Some(500)),
            ("1.5", Some(1500)),
            (".5", Some(500)),
            ("0.0001", Some(1)),
            ("100n", Some(1)),
            ("2u", Some(1)),
            ("1k", Some(1_000_000)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("1e3", Some(1_000_000)),
            ("12E-1", Some(1200)),
            ("+3", Some(3000)),
            ("-3", Some(-3000)),
            ("", None),
            ("Gi", None),
            ("1.2.3", None),
            ("1 Gi", None),
            ("1Kib", None),
            ("9e999", None),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_as_people_write_them() {
        for (resource, amount, wanted) in
            [("requests.memory", 536_870_912_000, "512Mi"), ("cpu", 250, "250m"), ("pods", 2000, "2")]
        {
            assert_eq!(show(resource, amount), wanted);
        }
    }

    #[test]
    fn pod_asks_for_its_containers_together_or_for_its_largest_init_container() {
        let spec: PodSpec = mk(json!({
            "initContainers": [
                { "name": "migrate", "resources": { "requests": { "cpu": "2", "memory": "64Mi" } } },
                { "name": "proxy", "restartPolicy": "Always", "resources": { "requests": { "memory": "100Mi" } } },
            ],
            "containers": [
                { "name": "main", "resources": { "requests": { "cpu": "500m" }, "limits": { "memory": "200Mi" } } },
            ],
        }));
        let demand = demand(&spec, &[]);
        assert_eq!(demand.requests["cpu"], 2000);
        assert_eq!(demand.requests["memory"], read("300Mi").unwrap());
        assert_eq!(demand.limits["memory"], read("200Mi").unwrap());
        assert_eq!((demand.unrequested, demand.unlimited), (vec![], vec!["cpu"]));
    }

    #[test]
    fn namespace_fills_in_what_a_container_does_not_say() {
        let range: LimitRange = mk(json!({ "spec": { "limits": [{
            "type": "Container", "default": { "cpu": "1" }, "defaultRequest": { "cpu": "100m" },
        }] } }));
        let spec: PodSpec = mk(json!({ "containers": [{ "name": "main" }] }));
        let demand = demand(&spec, &[range]);
        assert_eq!((demand.requests["cpu"], demand.limits["cpu"]), (100, 1000));
    }

    #[test]
    fn room_is_what_the_scarcest_resource_leaves() {
        let node: Node = mk(json!({ "metadata": { "name": "n1" },
            "status": { "allocatable": { "cpu": "2", "memory": "1Gi", "pods": "10" } } }));
        let pod: Pod = mk(json!({ "metadata": {}, "spec": { "nodeName": "n1", "containers": [
            { "name": "main", "resources": { "requests": { "cpu": "1" } } }] } }));
        let spec: PodSpec = mk(json!({ "containers": [
            { "name": "main", "resources": { "requests": { "cpu": "400m", "memory": "128Mi" } } }] }));
        assert_eq!(room(&node, std::slice::from_ref(&pod), &demand(&spec, &[])), 2);
        assert_eq!(room(&node, &vec![pod; 3], &demand(&spec, &[])), 0);
    }
}
