//! `tollgate simulate`.

use std::net::SocketAddr;

pub(crate) async fn simulate(listen: SocketAddr) -> anyhow::Result<()> {
    let server = tollgate_simulator::bind(tollgate_simulator::Config {
        listen,
        ..Default::default()
    })
    .await?;
    println!("simulating OpenAI and Anthropic on http://{}", server.local_addr());
    server.run(crate::serve::signal()).await;
    Ok(())
}
