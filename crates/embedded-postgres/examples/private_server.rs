//! Starts a cluster in a folder, says how to connect to it, and stops it at Ctrl-C:
//! `cargo run -p embedded-postgres --example private_server -- /tmp/my-postgres`

use embedded_postgres::{Cluster, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("name a folder")?;
    let settings = Settings::new(dir);
    let superuser = settings.superuser.clone();
    let cluster = Cluster::start(settings).await?;
    let options = cluster.connect_options("postgres");
    let socket = options.get_socket().ok_or("a cluster has a socket")?;
    println!("psql -h '{}' -U {superuser} postgres", socket.display());
    tokio::signal::ctrl_c().await?;
    cluster.stop().await?;
    Ok(())
}
