//! The program: everything else is in the library, so that the tests can call it.

fn main() -> std::process::ExitCode {
    spirit_beads::cli::run()
}
