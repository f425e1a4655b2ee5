//! Declared tasks that are guests: what reaches them, and what they reach.

use airlock::{
    domain::{Phase, State},
    queries::Stack,
};
use serde_json::json;

use super::{
    declared::{CONFIG, PRINTS_ITS_VARIABLES},
    rig::Rig,
};

/// A stack whose source has a guest `variables` that prints what it gets.
async fn stack_with_printer(rig: &Rig, more: &str) -> Stack {
    let tasks = format!("tasks:\n  variables:\n    type: wasi:variables.wasm\n    run: {{command: ''}}\n{more}");
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}), &[]).await;
    let module = wat::parse_str(PRINTS_ITS_VARIABLES).unwrap();
    rig.upload(&stack, &[(CONFIG, tasks.as_bytes()), ("variables.wasm", &module[..])]).await;
    stack
}

/// What a run of that guest printed.
async fn printed(rig: &Rig, stack: &Stack, variables: &[(&str, &str)]) -> Vec<String> {
    let run = rig.declared(stack, "variables", variables).await;
    let run = rig.until_state(&run, State::Finished).await;
    rig.log(&run, Phase::Performing).split('\0').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_not_handed_a_secret_because_its_name_sounds_like_the_platforms() {
    let rig = Rig::new().await;
    let bound = "    airlock:
      network: [api.example]
      headers: {api.example: {Authorization: {secret: PLATFORM_TOKEN}, X-Key: {secret: AIRLOCK_KEY}}}
";
    let stack = stack_with_printer(&rig, bound).await;
    rig.set(&stack, "PLATFORM_TOKEN", "platform-secret", true).await;
    rig.set(&stack, "AIRLOCK_KEY", "airlock-secret", true).await;
    let printed = printed(&rig, &stack, &[]).await;
    assert!(printed.iter().any(|one| one == "PLATFORM_PROJECT=shop"), "{printed:?}");
    for name in ["PLATFORM_TOKEN", "AIRLOCK_KEY"] {
        assert!(!printed.iter().any(|one| one.starts_with(name)), "{name}: {printed:?}");
    }
}
