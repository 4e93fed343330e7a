//! The command line, built with the tests so that they can run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    latewood::cli::main()
}
