//! The `latewood` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    latewood::cli::main()
}
