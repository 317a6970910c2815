//! One kind's objects by name, as a watch tells of them.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The objects that a watch has told of and not taken back.
pub(crate) struct Store<K> {
    pub(crate) objects: BTreeMap<String, K>,
    relisted: BTreeMap<String, K>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), relisted: BTreeMap::new() }
    }
}

impl<K: ResourceExt> Store<K> {
    /// Returns a store of what a list showed.
    pub(crate) fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let objects = objects.into_iter().map(|object| (object.name_any(), object)).collect();
        Self { objects, relisted: BTreeMap::new() }
    }

    /// Takes in what the watch tells; a list that is under way counts once it is whole.
    pub(crate) fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => drop(self.objects.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.objects.remove(&object.name_any())),
            Event::Init => self.relisted.clear(),
            Event::InitApply(object) => drop(self.relisted.insert(object.name_any(), object)),
            Event::InitDone => self.objects = std::mem::take(&mut self.relisted),
        }
    }
}
