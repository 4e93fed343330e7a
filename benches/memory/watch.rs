//! A step in a process of its own, watched while it runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use latewood_benches::Failure;

/// Between two looks. What is resident at the peak is told by the kernel and missed by no look.
const PAUSE: Duration = Duration::from_millis(2);

/// The most that a process held, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// Of memory that no file stands behind.
    pub(crate) anonymous: f64,
    /// Of pages of files.
    pub(crate) files: f64,
    /// Of both at once (VmHWM).
    pub(crate) all: f64,
    pub(crate) seconds: f64,
}

/// Runs this program again with other arguments; its output, and the most that it held.
pub(crate) fn run(arguments: &[String]) -> Result<(String, Peak), Failure> {
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = Peak::default();
    while child.try_wait()?.is_none() {
        look(Path::new(&status), &mut peak);
        std::thread::sleep(PAUSE);
    }
    peak.seconds = begun.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok((String::from_utf8(output.stdout)?, peak))
    } else {
        Err(format!("{arguments:?} ended with {}", output.status).into())
    }
}

fn look(status: &Path, peak: &mut Peak) {
    // A process that has just ended has no memory to tell of.
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let mib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    peak.anonymous = peak.anonymous.max(mib("RssAnon:"));
    peak.files = peak.files.max(mib("RssFile:"));
    peak.all = peak.all.max(mib("VmHWM:"));
}
