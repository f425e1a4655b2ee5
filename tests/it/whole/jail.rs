//! The jail, as tasks meet it: what is not there, what is refused, what is contained. Each with the
//! control that the host has it. The jail's own tests go further.

use std::{
    fs,
    process::{Command, Stdio},
};

use airlock::{
    domain::{Phase, State, Verdict},
    queries::{Run, Stack},
};
use serde_json::json;

use super::{gate::Gate, rig::Rig};

async fn stack(rig: &Rig, network: &str, limits: serde_json::Value) -> Stack {
    let executor = json!({"network": network, "limits": limits});
    rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}, "executor": executor}), &[("file", "text")]).await
}

/// What a task prints.
async fn says(rig: &Rig, stack: &Stack, command: &str) -> String {
    let run = rig.task(stack, command).await;
    let run = rig.until(&run, |run| run.state.is_terminal()).await;
    rig.log(&run, Phase::Performing)
}

async fn ended(rig: &Rig, stack: &Stack, command: &str) -> Run {
    let run = rig.task(stack, command).await;
    rig.until(&run, |run| run.state.is_terminal()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_sees_nothing_of_the_appliance_of_the_host_or_of_other_runs() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let one = stack(&rig, "host", json!({})).await;
    let mut other = one.settings.clone();
    other.name = "Other".parse().unwrap();
    let other = rig.stack(serde_json::to_value(&other).unwrap(), &[]).await;
    let busy = rig.task(&other, &format!("echo mine > mine; {}", gate.command("busy"))).await;
    let knock = gate.knock().await;

    let data = rig.data();
    let canary = tempfile::NamedTempFile::new().unwrap();
    fs::write(canary.path(), "host file").unwrap();
    let places = [data.join("master.key"), data.join("airlock.redb"), data.join("runs"), canary.path().to_owned()];
    assert!(places.iter().all(|place| place.exists()), "the control");
    let list = places.map(|place| place.display().to_string()).join(" ");
    let look = format!(
        "for f in {list} /root /home /etc/shadow; do if [ -e $f ]; then echo $f is there; fi; done; ls /workspace; \
         ls /proc | grep -c '^[0-9]'; id -u"
    );
    let seen = says(&rig, &one, &look).await;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("file"), "{seen}");
    assert!(lines.next().unwrap().parse::<u32>().unwrap() < 10, "{seen}");
    assert_ne!(lines.next(), Some("0"), "{seen}");
    knock.let_on().await;
    rig.until_state(&busy, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_a_jail_is_refused() {
    let rig = Rig::new().await;
    let stack = stack(&rig, "none", json!({})).await;
    let mut victim = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
    for (what, command) in [
        ("mount", "mount -t tmpfs none /tmp".to_owned()),
        ("a namespace", "unshare -U true".to_owned()),
        (
            "ptrace of init",
            "python3 -c 'import ctypes,sys; l=ctypes.CDLL(None); sys.exit(l.ptrace(16,1,0,0)!=0)'".to_owned(),
        ),
        ("a raw socket", "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'".to_owned()),
        (
            "a packet socket",
            "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 1)'".to_owned(),
        ),
        ("the network", "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 2)'".to_owned()),
        ("killing a process of the host", format!("kill -9 {}", victim.id())),
        ("writing to the host's programs", "touch /usr/bin/x".to_owned()),
    ] {
        let run = ended(&rig, &stack, &command).await;
        assert_eq!(run.state, State::Failed, "{what}: {}", rig.all_logs(&run));
    }
    assert!(victim.try_wait().unwrap().is_none(), "the host's process lives");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let fine =
        says(&rig, &stack, "python3 -c 'import socket; socket.socket(); print(1)'; touch x && echo written").await;
    assert_eq!(fine, "1\nwritten\n", "the control: ordinary things work");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_processes_and_daemons_are_contained() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let limits = json!({"memory_bytes": 64 << 20, "processes": 64});
    let stack = stack(&rig, "host", limits).await;

    let hungry = ended(&rig, &stack, "python3 -c 'x = bytearray(512 << 20); print(len(x))'").await;
    assert_eq!(hungry.state, State::Failed, "{}", rig.all_logs(&hungry));
    assert!(!rig.log(&hungry, Phase::Performing).contains("536870912"));
    let modest = says(&rig, &stack, "python3 -c 'x = bytearray(8 << 20); print(len(x))'").await;
    assert_eq!(modest, "8388608\n", "the control");

    let forks = "i=0; while [ $i -lt 10000 ]; do sleep 1000 & i=$((i+1)); done; echo all of them";
    let many = ended(&rig, &stack, forks).await;
    assert!(many.state == State::Failed, "{:?} {}", many.verdict, rig.all_logs(&many));

    let daemon = format!(
        "(setsid {} &) ; (setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &); echo started",
        gate.command("daemon")
    );
    let run = rig.task(&stack, &format!("{daemon}; {}", gate.command("task"))).await;
    let (one, other) = (gate.knock().await, gate.knock().await);
    let (daemon, task) = if one.name == "daemon" { (one, other) } else { (other, one) };
    task.let_on().await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(run.verdict, Some(Verdict::SUCCESS));
    daemon.gone().await;
}
