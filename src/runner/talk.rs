//! The runner's second thread: everything that others say to it while its first one works.
//!
//! It serves `control.sock`, the endpoint of the managed state, the jail's way out, and the signals
//! that ask for an end. It owns no truth: requests go into [`Asked`], states into [`States`], traffic
//! into the proxy's own ledger.

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
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    egress::Proxy,
    protocol::{Bell, Request},
};

use super::{
    asked::Asked,
    fault::Fault,
    state::{States, http},
    way_out::{self, Door},
    workload,
};

/// Time that listeners get for taking the last bell.
const LAST_BELL: Duration = Duration::from_secs(1);

/// The running thread.
#[derive(Debug)]
pub struct Talk {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

/// What the working thread wants served.
#[derive(Debug)]
enum Order {
    ServeState(TcpListener),
    CloseState,
    ServeProxy(Door, Arc<Proxy>),
    ServeRelay(TcpListener, Arc<Proxy>, String),
    ServeWorkload(TcpListener, workload::Door),
    /// Answered when nothing goes out any more.
    CloseProxy(SyncSender<()>),
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
        let _ = self.orders.blocking_send(Order::ServeState(listener));
    }

    pub fn close_state(&self) {
        let _ = self.orders.blocking_send(Order::CloseState);
    }

    /// Serves the jail's way out from now on.
    pub fn serve_proxy(&self, door: Door, proxy: Arc<Proxy>) {
        let _ = self.orders.blocking_send(Order::ServeProxy(door, proxy));
    }

    /// Serves a service on this listener, too, until the way out is closed.
    pub fn serve_relay(&self, listener: TcpListener, proxy: Arc<Proxy>, to: String) {
        let _ = self.orders.blocking_send(Order::ServeRelay(listener, proxy, to));
    }

    /// Serves the door for running tasks on this listener, until the way out is closed.
    pub fn serve_workload(&self, listener: TcpListener, door: workload::Door) {
        let _ = self.orders.blocking_send(Order::ServeWorkload(listener, door));
    }

    /// Ends it, with every connection; when this returns, nothing of the phase is under way any more.
    pub fn close_proxy(&self) {
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        let _ = self.orders.blocking_send(Order::CloseProxy(done));
        // Fails only when the thread is gone, and the connections with it.
        let _ = is_done.recv();
    }

    /// Waits until everybody had a chance to take the last bell. All [`super::bells::Bells`] must be
    /// gone by now.
    pub fn end(self) {
        drop(self.orders);
        // A panic over there is written by the panic hook.
        let _ = self.thread.join();
    }
}

fn run(subjects: Subjects, orders: mpsc::Receiver<Order>, ready: &SyncSender<io::Result<()>>) {
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
    mut orders: mpsc::Receiver<Order>,
) {
    let Subjects { bells, asked, states, .. } = subjects;
    let mut bells_end = bells.clone();
    let mut conversations = tokio::spawn(super::control::serve(control, bells, Arc::clone(&asked)));
    let mut served = Served::default();
    loop {
        tokio::select! {
            Some(()) = terminate.recv() => asked.hear(&Request::Stop),
            Some(()) = interrupt.recv() => asked.hear(&Request::Stop),
            order = orders.recv() => match order {
                Some(order) => served.follow(order, states.as_ref()).await,
                None => break,
            }
        }
    }
    drop(served);
    while bells_end.changed().await.is_ok() {}
    let _ = tokio::time::timeout(LAST_BELL, &mut conversations).await;
}

/// What is served inside the jail at the moment; dropped, it is not any more.
#[derive(Default)]
struct Served {
    state: Option<AbortOnDropHandle<()>>,
    proxy: Option<AbortOnDropHandle<()>>,
    /// Services, and the door for running tasks.
    doors: Vec<AbortOnDropHandle<()>>,
}

impl Served {
    async fn follow(&mut self, order: Order, states: Option<&Arc<States>>) {
        match order {
            Order::ServeState(listener) => {
                self.state = states.map(|states| task(http::serve(listener, Arc::clone(states))));
            }
            Order::CloseState => self.state = None,
            Order::ServeProxy(door, proxy) => self.proxy = Some(task(way_out::serve(door, proxy))),
            Order::ServeRelay(listener, proxy, to) => {
                self.doors.push(task(way_out::relay(listener, proxy, to)));
            }
            Order::ServeWorkload(listener, door) => self.doors.push(task(door.serve(listener))),
            Order::CloseProxy(done) => {
                for door in self.doors.drain(..) {
                    door.abort();
                    let _ = door.await;
                }
                if let Some(proxy) = self.proxy.take() {
                    proxy.abort();
                    // An aborted task ends with an error, and that is what is waited for.
                    let _ = proxy.await;
                }
                // Fails only when nobody waits.
                let _ = done.send(());
            }
        }
    }
}

fn task(serving: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(serving))
}
