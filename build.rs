//! Compiles the migrations into the program anew when a file is added: `sqlx::migrate!` alone notices changed files only.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
