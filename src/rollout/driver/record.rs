//! Keeps what each verdict was made from in a file, line by line, for a test to play back. It is for
//! those who write such tests: pods are kept as they are, with everything that their template says.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use crate::rollout::report::{Progress, Reporter};
use crate::rollout::verdict::diagnosis::record::World;

/// A reporter that writes the evidence to a file and passes everything else on.
pub struct Recorder {
    inner: Box<dyn Reporter>,
    started: Instant,
    kept: Mutex<(File, Value)>,
}

impl Recorder {
    /// Begins a recording; a file that is there is written anew.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn create(path: &Path, inner: Box<dyn Reporter>) -> std::io::Result<Self> {
        let kept = Mutex::new((File::create(path)?, Value::Null));
        Ok(Self { inner, started: Instant::now(), kept })
    }
}

impl Reporter for Recorder {
    fn line(&self, text: &str) {
        self.inner.line(text);
    }

    fn look(&self, progress: &Progress) {
        self.inner.look(progress);
    }

    fn evidence(&self, world: &dyn Fn() -> World) {
        let (Ok(mut kept), Ok(now)) = (self.kept.lock(), serde_json::to_value(world())) else { return };
        if kept.1 == now {
            return;
        }
        let line =
            json!({ "at": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0), "world": now });
        // A recording that cannot be written is no reason to stop a rollout.
        let _ = writeln!(kept.0, "{line}");
        kept.1 = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Reporter for Nobody {
        fn line(&self, _: &str) {}
        fn look(&self, _: &Progress) {}
    }

    #[test]
    fn only_what_changed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream.jsonl");
        let recorder = Recorder::create(&path, Box::new(Nobody)).unwrap();
        for wanted in [1, 1, 2] {
            recorder.evidence(&|| World { wanted, ..World::default() });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let worlds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(worlds.iter().map(|line| &line["world"]["wanted"]).collect::<Vec<_>>(), [1, 2]);
    }
}
