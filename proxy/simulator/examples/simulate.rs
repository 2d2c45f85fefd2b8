//! Runs the simulator alone: `cargo run --release -p tollgate-simulator --example simulate -- 127.0.0.1:9801`.
//!
//! For benchmarks and development without building the gateway; `tollgate simulate` is the command for users.

use tollgate_simulator::{Config, bind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args()
        .nth(1)
        .map_or(Ok(Config::default().listen), |address| address.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = bind(Config {
            listen,
            ..Config::default()
        })
        .await?;
        eprintln!("simulating on http://{}", server.local_addr());
        server.run(async { drop(tokio::signal::ctrl_c().await) }).await;
        Ok(())
    })
}
