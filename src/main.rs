//! The program: everything else is in the library, so that the tests can call it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    spirit_beads::cli::run()
}
