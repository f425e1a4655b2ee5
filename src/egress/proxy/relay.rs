//! One destination behind a listener of its own: for programs that speak something else than HTTP.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    sync::Semaphore,
    task::JoinSet,
};

use super::{ACCEPT_PAUSE, Accept, PIECE, Proxy};
use crate::{
    domain::{limits::PROXY_CONNECTIONS, network::Destination},
    egress::meter::{Moved, Watched, idle},
};

impl Proxy {
    /// Connects every client to `to`, by this proxy's rules, until it is dropped. One that cannot be
    /// connected finds its connection closed; a refusal is recorded.
    pub async fn serve_tunnels(self: Arc<Self>, mut listener: impl Accept, to: Destination) {
        let places = Arc::new(Semaphore::new(PROXY_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok(client) => {
                        let (proxy, to) = (Arc::clone(&self), to.clone());
                        connections.spawn(async move {
                            proxy.tunnel_to(client, &to).await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn tunnel_to(&self, client: impl AsyncRead + AsyncWrite + Unpin + Send, to: &Destination) {
        let Some(mut host) = self.open_or_deny(to).await else { return };
        let moved = Moved::default();
        let mut client = Watched { stream: client, moved: Arc::clone(&moved) };
        tokio::select! {
            // The end of a tunnel is whatever one side makes of it.
            _ = copy_bidirectional_with_sizes(&mut client, &mut host, PIECE, PIECE) => {}
            () = idle(&moved, self.waits.idle) => {}
        }
        self.tell_when_spent();
    }
}
