//! A temporary directory and a clean environment to run the built executables in. The outcome is one
//! block of text (exit, stdout, stderr), made for inline snapshots.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::io::Write;

/// Where the tests' processes live: everything is below one temporary directory.
pub(crate) struct Toolkit {
    root: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl Toolkit {
    /// Returns a toolkit whose environment has a PATH and nothing else.
    pub(crate) fn new() -> Self {
        let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        Self { root: tempfile::tempdir().unwrap(), variables, filters: Vec::new() }
    }

    /// Sets one variable of every process started from now on.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Replaces `text` by `name` in every output: ports, digests, times.
    pub(crate) fn filter(mut self, text: &str, name: &str) -> Self {
        self.filters.push((text.to_owned(), name.to_owned()));
        self
    }

    /// Returns the temporary directory; outputs call it `[DIR]`.
    pub(crate) fn directory(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file below the directory and returns its path.
    pub(crate) fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.directory().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Creates a directory below the directory and returns its path.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        let path = self.directory().join(path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes an executable shell script below the directory and returns its path.
    pub(crate) fn script(&self, path: &str, body: &str) -> PathBuf {
        let path = self.file(path, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Prepares one of this package's binaries, `binary("rollout")`, or any other program.
    pub(crate) fn binary(&self, name: &str) -> Run<'_> {
        self.program(&binary(name))
    }

    /// Prepares any program.
    pub(crate) fn program(&self, path: &Path) -> Run<'_> {
        let mut command = Command::new(path);
        command.env_clear().envs(&self.variables).current_dir(self.directory());
        Run { toolkit: self, command, stdin: Vec::new() }
    }

    /// Runs the resource binary `name` as `check`, `in` or `out` with `request` on stdin; the two
    /// latter get `directory` as argv[1].
    pub(crate) fn step(&self, name: &str, step: &str, directory: Option<&Path>, request: &str) -> Outcome {
        let run = self.binary(name).arg(step).stdin(request);
        match directory {
            Some(directory) => run.arg(directory).run(),
            None => run.run(),
        }
    }

    fn cleaned(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let directory = self.directory().display().to_string();
        let text = text.replace(&directory, "[DIR]");
        self.filters.iter().fold(text, |text, (from, to)| text.replace(from, to))
    }
}

/// Returns the path of one of this package's binaries. `ROLLWAY_BINARIES` names a directory with others of the
/// same names (tests/in-images).
pub(crate) fn binary(name: &str) -> PathBuf {
    if let Some(others) = std::env::var_os("ROLLWAY_BINARIES").filter(|_| name != "rollway") {
        return Path::new(&others).join(name);
    }
    match name {
        "rollway" => env!("CARGO_BIN_EXE_rollway"),
        "image-digest" => env!("CARGO_BIN_EXE_image-digest"),
        "kpack-trigger" => env!("CARGO_BIN_EXE_kpack-trigger"),
        "rollout" => env!("CARGO_BIN_EXE_rollout"),
        other => panic!("this package has no binary `{other}`"),
    }
    .into()
}

/// One process to be started.
pub(crate) struct Run<'a> {
    toolkit: &'a Toolkit,
    command: Command,
    stdin: Vec<u8>,
}

impl Run<'_> {
    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Starts the process under another name, as a link would.
    pub(crate) fn named(mut self, argv0: &str) -> Self {
        std::os::unix::process::CommandExt::arg0(&mut self.command, argv0);
        self
    }

    /// Sets one variable of this process.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives the process this on stdin.
    pub(crate) fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        self.stdin = text.as_ref().to_vec();
        self
    }

    /// Sends stdout elsewhere; the outcome then has none.
    pub(crate) fn stdout_to(mut self, file: fs::File) -> Outcome {
        self.command.stdout(file).stdin(Stdio::piped()).stderr(Stdio::piped());
        let child = self.command.spawn().unwrap();
        finish(self.toolkit, child, &self.stdin)
    }

    /// Runs the process to its end.
    pub(crate) fn run(self) -> Outcome {
        let (toolkit, stdin) = (self.toolkit, self.stdin.clone());
        finish(toolkit, self.start_without_stdin(), &stdin)
    }

    /// Starts the process and leaves its stdin open, to the test's hands.
    pub(crate) fn start_without_stdin(mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap()
    }
}

/// Writes `stdin`, waits, and returns what came out.
pub(crate) fn finish(toolkit: &Toolkit, mut child: Child, stdin: &[u8]) -> Outcome {
    if let Some(mut pipe) = child.stdin.take() {
        // A process that refuses its command line never reads; that is not the test's failure.
        let _ = pipe.write_all(stdin);
    }
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        signal: std::os::unix::process::ExitStatusExt::signal(&output.status),
        stdout: toolkit.cleaned(&output.stdout),
        stderr: toolkit.cleaned(&output.stderr),
    }
}

/// How a process ended and what it said.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Returns stdout as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => writeln!(formatter, "exit {code}")?,
            (None, signal) => writeln!(formatter, "signal {}", signal.unwrap_or_default())?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(formatter, "--- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}
