//! Sockets: none, ever. The control is the same component in an engine of this process.

use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2::bindings::Command};

use super::rig::Guest;
use crate::{host::servers, tests};

tests![no_socket_is_ever_made];

/// Succeeds if it is given a socket.
fn wants_a_socket(kind: &str) -> String {
    format!(
        r#"(component
  (import "wasi:sockets/network@0.2.0" (instance $network
    (type $error' (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type $error (eq $error')))
    (type $family' (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $family')))))
  (alias export $network "error-code" (type $error))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/{kind}@0.2.0" (instance $kind (export "{kind}-socket" (type $socket (sub resource)))))
  (alias export $kind "{kind}-socket" (type $socket))
  (import "wasi:sockets/{kind}-create-socket@0.2.0" (instance $create
    (alias outer 1 $error (type $error')) (export "error-code" (type $error (eq $error')))
    (alias outer 1 $family (type $family')) (export "ip-address-family" (type $family (eq $family')))
    (alias outer 1 $socket (type $socket')) (export "{kind}-socket" (type $socket (eq $socket')))
    (export "create-{kind}-socket"
      (func (param "address-family" $family) (result (result (own $socket) (error $error)))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $create
    (canon lower (func $create "create-{kind}-socket") (memory (core memory $libc "memory"))))
  (core instance $host (export "create" (func $create)))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "create" (func $create (param i32 i32)))
    (func (export "run") (result i32)
      (call $create (i32.const 0) (i32.const 256))
      (i32.load8_u (i32.const 256))))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

fn no_socket_is_ever_made() {
    for kind in ["tcp", "udp"] {
        let text = wants_a_socket(kind);
        for server in servers() {
            assert_eq!(Guest::on(*server, &text).run().code(), 1, "{kind} {server:?}");
            // A list of hosts is for HTTP; it opens no socket.
            let mut guest = Guest::on(*server, &text);
            guest.grants.network = vec!["127.0.0.1:80".to_owned()];
            assert_eq!(guest.run().code(), 1, "{kind} {server:?}");
        }
        assert!(elsewhere(&text), "the control: {kind}");
    }
}

struct State(WasiCtx, ResourceTable);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

/// Runs it as an embedder would that hides nothing.
fn elsewhere(text: &str) -> bool {
    let engine = Engine::new(&Config::new()).unwrap();
    let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    let surroundings = WasiCtxBuilder::new().inherit_network().allow_tcp(true).allow_udp(true).build();
    let mut store = Store::new(&engine, State(surroundings, ResourceTable::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let command = Command::instantiate_async(&mut store, &component, &linker).await.unwrap();
        command.wasi_cli_run().call_run(&mut store).await.unwrap().is_ok()
    })
}
