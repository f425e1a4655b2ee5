//! The runner's second thread: everything that others say to it while its first one works.
//!
//! It serves `control.sock`, the endpoint of the managed state, and the signals that ask for an end.
//! It owns no truth: requests go into [`Asked`], states into [`States`].

use std::{
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle as Task,
};

use crate::protocol::{Bell, Request};

use super::{
    asked::Asked,
    fault::Fault,
    state::{States, http},
};

/// Time that listeners get for taking the last bell.
const LAST_BELL: Duration = Duration::from_secs(1);

/// The running thread.
#[derive(Debug)]
pub struct Talk {
    orders: mpsc::Sender<Option<TcpListener>>,
    thread: JoinHandle<()>,
}

/// What the thread talks about.
#[derive(Debug)]
pub struct Subjects {
    pub control: UnixListener,
    pub bells: watch::Receiver<Bell>,
    pub asked: Arc<Asked>,
    pub states: Option<Arc<States>>,
}

impl Talk {
    /// Starts the thread; when this returns, a signal is heard.
    pub fn start(subjects: Subjects) -> Result<Self, Fault> {
        let (orders, receiver) = mpsc::channel(1);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("talk".to_owned())
            .spawn(move || run(subjects, receiver, &ready))
            .map_err(Fault::io("start a thread"))?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { orders, thread }),
            Ok(Err(error)) => Err(Fault::io("listen on control.sock")(error)),
            Err(_) => Err(Fault::Other("the talking thread ended at once".to_owned())),
        }
    }

    /// Serves the managed state on this listener from now on, and on no other.
    pub fn serve_state(&self, listener: TcpListener) {
        // Fails only when the thread is gone, and then nobody could be served.
        let _ = self.orders.blocking_send(Some(listener));
    }

    pub fn close_state(&self) {
        let _ = self.orders.blocking_send(None);
    }

    /// Waits until everybody had a chance to take the last bell. All [`super::bells::Bells`] must be
    /// gone by now.
    pub fn end(self) {
        drop(self.orders);
        // A panic over there is written by the panic hook.
        let _ = self.thread.join();
    }
}

fn run(subjects: Subjects, orders: mpsc::Receiver<Option<TcpListener>>, ready: &SyncSender<io::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match prepare(&subjects.control) {
            Ok((control, signals)) => {
                let _ = ready.send(Ok(()));
                talk(control, signals, subjects, orders).await;
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

fn prepare(control: &UnixListener) -> io::Result<(tokio::net::UnixListener, [Signal; 2])> {
    let control = tokio::net::UnixListener::from_std(control.try_clone()?)?;
    Ok((control, [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
}

async fn talk(
    control: tokio::net::UnixListener,
    [mut terminate, mut interrupt]: [Signal; 2],
    subjects: Subjects,
    mut orders: mpsc::Receiver<Option<TcpListener>>,
) {
    let Subjects { bells, asked, states, .. } = subjects;
    let mut bells_end = bells.clone();
    let mut conversations = tokio::spawn(super::control::serve(control, bells, Arc::clone(&asked)));
    let mut endpoint: Option<Task<()>> = None;
    loop {
        tokio::select! {
            Some(()) = terminate.recv() => asked.hear(&Request::Stop),
            Some(()) = interrupt.recv() => asked.hear(&Request::Stop),
            order = orders.recv() => {
                if let Some(task) = endpoint.take() {
                    task.abort();
                }
                match order {
                    Some(Some(listener)) => endpoint = states.clone().map(|states| tokio::spawn(http::serve(listener, states))),
                    Some(None) => {}
                    None => break,
                }
            }
        }
    }
    while bells_end.changed().await.is_ok() {}
    let _ = tokio::time::timeout(LAST_BELL, &mut conversations).await;
}
