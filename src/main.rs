//! The `setpoint` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    setpoint::cli::main()
}
