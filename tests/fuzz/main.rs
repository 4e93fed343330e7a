//! Fuzzes a decoder, or writes what the programs of `fuzz/` begin with:
//! `fuzz --target NAME [--seconds 60] [--seed 1]`, `fuzz --corpus FOLDER`, `fuzz --target NAME --input FILE`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use latewood_tests::command::Arguments;
use latewood_tests::fuzz::{Settings, TARGETS, drive, target};

fn main() -> ExitCode {
    match run() {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let arguments = Arguments::from_env(&["target", "seconds", "seed", "corpus", "input"]);
    if let Some(folder) = arguments.text("corpus") {
        return write_corpus(Path::new(folder)).map_err(|error| format!("{folder}: {error}"));
    }
    let target = target(arguments.text("target").unwrap_or_default())?;
    if let Some(file) = arguments.text("input") {
        let input = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let taken = (target.run)(&input);
        return Ok(format!("{}: taken for right: {taken}", target.name));
    }
    let settings = Settings {
        seed: arguments.number("seed", 1),
        least: 1,
        time: Duration::from_secs(arguments.number("seconds", 60)),
    };
    let (done, right) = drive(&target, &settings)?;
    Ok(format!(
        "{}: {done} inputs, {right} of them taken for right",
        target.name
    ))
}

fn write_corpus(folder: &Path) -> std::io::Result<String> {
    let mut files = 0;
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, bytes) in (target.corpus)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), bytes)?;
            files += 1;
        }
    }
    Ok(format!("{files} files for {} decoders", TARGETS.len()))
}
