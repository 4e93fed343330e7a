//! The `latewood` command as a process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Panics unless the command succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs the binary at `binary` with these arguments.
pub fn run<S: AsRef<std::ffi::OsStr>>(binary: &str, arguments: &[S]) -> Ran {
    let output: Output = Command::new(binary)
        .args(arguments)
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Writes an array of f32 as numpy.save does.
pub fn write_npy(path: &Path, shape: &[usize], numbers: &[f32]) {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    write_npy_bytes(path, "<f4", &format!("({},)", shape.join(", ")), &data);
}

/// Writes a one-dimensional array of i64 as numpy.save does.
pub fn write_npy_lengths(path: &Path, lengths: &[i64]) {
    let data: Vec<u8> = lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
    write_npy_bytes(path, "<i8", &format!("({},)", lengths.len()), &data);
}

/// Writes any array.
pub fn write_npy_bytes(path: &Path, descr: &str, shape: &str, data: &[u8]) {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// Arguments of the commands that belong to the tests: `--name value`.
#[derive(Debug, Default)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Those of this process; exits where one is not among `known`.
    pub fn from_env(known: &[&str]) -> Self {
        Self::from_list(std::env::args().skip(1), known)
    }

    /// These; exits where one is not among `known`.
    pub fn from_list(mut given: impl Iterator<Item = String>, known: &[&str]) -> Self {
        let mut found = BTreeMap::new();
        while let Some(name) = given.next() {
            let key = name.strip_prefix("--").filter(|key| known.contains(key));
            match (key, given.next()) {
                (Some(key), Some(value)) => drop(found.insert(key.to_owned(), value)),
                _ => {
                    eprintln!("expected --name value of {known:?}, got {name}");
                    std::process::exit(2);
                }
            }
        }
        Self(found)
    }

    /// A text, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number; exits where it is none.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let Some(text) = self.text(name) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            eprintln!("--{name}: expected a number, got {text}");
            std::process::exit(2)
        })
    }
}
