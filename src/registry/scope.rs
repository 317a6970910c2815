//! What a token must allow, merged from what is needed here and what a registry demands. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Something that a client does besides pulling from its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Pushing to its repository.
    Push,
    /// Pulling from another repository of the registry, to mount blobs from there.
    PullFrom(String),
}

/// The actions that are wanted, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Returns the right to pull from a repository.
    pub(super) fn pulling(path: &str) -> Self {
        let mut scopes = Self::default();
        scopes.allow(path, &["pull"]);
        scopes
    }

    /// Adds what a client of the repository `path` wants to do.
    pub(super) fn want(&mut self, path: &str, scope: &Scope) {
        match scope {
            Scope::Push => self.allow(path, &["pull", "push"]),
            Scope::PullFrom(other) => self.allow(other, &["pull"]),
        }
    }

    /// Adds what a challenge demands: `type:name:actions`, several of them with spaces between. A name
    /// may have colons of its own.
    pub(super) fn demand(&mut self, challenge: &str) {
        for word in challenge.split_whitespace() {
            let (resource, actions) = word.rsplit_once(':').unwrap_or((word, ""));
            let known = self.0.entry(resource.to_owned()).or_default();
            known.extend(actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned));
        }
    }

    /// Returns one text for each resource, in a fixed order.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            if actions.is_empty() { resource.clone() } else { format!("{resource}:{}", actions.join(",")) }
        };
        self.0.iter().map(text).collect()
    }

    fn allow(&mut self, path: &str, actions: &[&str]) {
        let known = self.0.entry(format!("repository:{path}")).or_default();
        known.extend(actions.iter().map(|action| (*action).to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_is_asked_for_once_with_all_its_actions() {
        let mut scopes = Scopes::pulling("team/app");
        scopes.demand("repository:team/app:pull,push registry:catalog:*");
        assert_eq!(scopes.texts(), ["registry:catalog:*", "repository:team/app:pull,push"]);
    }

    #[test]
    fn mount_needs_both_repositories() {
        let mut scopes = Scopes::pulling("b");
        scopes.want("b", &Scope::Push);
        scopes.want("b", &Scope::PullFrom("a".to_owned()));
        assert_eq!(scopes.texts(), ["repository:a:pull", "repository:b:pull,push"]);
    }

    #[test]
    fn odd_demands_are_passed_on_as_they_are() {
        let mut scopes = Scopes::default();
        scopes.demand(" plain  a:b:c:d,,e :x ");
        assert_eq!(scopes.texts(), [":x", "a:b:c:d,e", "plain"]);
        scopes.demand("");
        assert_eq!(scopes.texts().len(), 3);
    }
}
