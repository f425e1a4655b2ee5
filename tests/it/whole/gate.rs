//! A gate: phases knock at it from inside of their jail (network mode `host`) and wait to be let on,
//! so that a test is where it wants to be without waiting for time.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const PATIENCE: Duration = Duration::from_secs(90);

pub struct Gate {
    listener: TcpListener,
}

/// Somebody who stands at the gate.
pub struct Knock {
    pub name: String,
    stream: BufReader<TcpStream>,
}

impl Gate {
    pub async fn new() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// A command that knocks with a name and goes on once it is let.
    pub fn command(&self, name: &str) -> String {
        let port = self.port();
        format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; echo {name} >&3; read -r go <&3'")
    }

    /// Waits for the next knock.
    pub async fn knock(&self) -> Knock {
        let knocked = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut name = String::new();
            stream.read_line(&mut name).await.unwrap();
            Knock { name: name.trim().to_owned(), stream }
        };
        tokio::time::timeout(PATIENCE, knocked).await.expect("somebody knocks")
    }
}

impl Knock {
    pub async fn let_on(mut self) {
        self.stream.write_all(b"go\n").await.unwrap();
    }

    /// Waits until whoever knocked is gone.
    pub async fn gone(mut self) {
        let mut rest = String::new();
        let gone = async { while self.stream.read_line(&mut rest).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(PATIENCE, gone).await.expect("it goes away");
    }
}
