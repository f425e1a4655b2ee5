use clap::{CommandFactory as _, Parser as _};

use super::{Args, RoleOn, RunVerb, TaskVerb, Verb};
use crate::config::KEYS;

#[test]
fn every_definition_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn a_task_s_command_comes_after_two_hyphens_and_keeps_its_own_flags() {
    let args = Args::try_parse_from(["airlock", "task", "perform", "shop", "--wait", "--", "ls", "--all", "-f"]);
    let Verb::Task(task) = args.unwrap().verb else { panic!("another verb") };
    let TaskVerb::Perform(perform) = task.verb else { panic!("another verb") };
    assert_eq!(perform.command, ["ls", "--all", "-f"]);
    assert!(perform.waiting.wait && !perform.waiting.follow);
    assert!(Args::try_parse_from(["airlock", "task", "perform", "shop"]).is_err());
}

#[test]
fn what_is_no_name_is_refused_before_anything_is_sent() {
    let refused = |args: &[&str]| Args::try_parse_from(args).unwrap_err().to_string();
    assert!(refused(&["airlock", "run", "show", "shop"]).contains("`shop` is not a run id"));
    assert!(refused(&["airlock", "stack", "show", "../x"]).contains("only a-z"));
    assert!(refused(&["airlock", "run", "trigger", "shop", "--kind", "task"]).contains("tracked, proposed, destroy"));
    assert!(refused(&["airlock", "run", "list", "--state", "done"]).contains("finished"));
}

#[test]
fn stopping_without_a_server_needs_the_data_directory() {
    let id = "run_01JZZZZZZZZZZZZZZZZZZZZZZZ";
    assert!(Args::try_parse_from(["airlock", "run", "stop", id, "--offline"]).is_err());
    let args = Args::try_parse_from(["airlock", "run", "stop", id, "--offline", "--data", "d"]).unwrap();
    assert!(matches!(args.verb, Verb::Run(run) if matches!(&run.verb, RunVerb::Stop(stop) if stop.offline)));
}

#[test]
fn a_role_names_its_stack() {
    let role: RoleOn = "shop=writer".parse().unwrap();
    assert_eq!((role.stack.as_str(), role.role.word()), ("shop", "writer"));
    assert!("shop".parse::<RoleOn>().is_err());
    assert!("shop=owner".parse::<RoleOn>().unwrap_err().contains("reader, writer, admin"));
}

#[test]
fn every_key_of_the_configuration_is_a_flag_of_serve() {
    let args = Args::command();
    let serve = args.find_subcommand("serve").unwrap();
    let flags: Vec<&str> = serve.get_arguments().filter_map(clap::Arg::get_long).collect();
    // Other users of the host see flags: this one is a file there.
    for key in KEYS.iter().filter(|key| **key != "metrics_token") {
        assert!(flags.contains(&key.replace('_', "-").as_str()), "{key}");
    }
}

#[test]
fn json_may_be_asked_for_before_the_verb_and_behind_it() {
    for args in [
        ["airlock", "--json", "task", "list"],
        ["airlock", "task", "--json", "list"],
        ["airlock", "task", "list", "--json"],
    ] {
        let Verb::Task(task) = Args::try_parse_from(args).unwrap().verb else { panic!("another verb") };
        assert!(matches!(task.verb, TaskVerb::List { how, .. } if how.shown.json), "{args:?}");
    }
    let Verb::Task(task) = Args::try_parse_from(["airlock", "task", "list"]).unwrap().verb else {
        panic!("another verb")
    };
    assert!(matches!(task.verb, TaskVerb::List { how, .. } if !how.shown.json));
}

/// The help of a verb and of all below it.
fn helps(verb: &mut clap::Command) -> Vec<String> {
    let own = verb.render_long_help().to_string();
    std::iter::once(own).chain(verb.get_subcommands_mut().flat_map(helps)).collect()
}

/// Words that can be the beginning of a commit's id and are no whole one.
fn parts_of_ids(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| (7..40).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())).collect()
}

#[test]
fn no_example_shows_a_part_of_a_commit_s_id() {
    let whole = "0123456789abcdef0123456789abcdef01234567";
    let line = format!("airlock run trigger shop --commit 3f2a91c or --commit {whole}, which succeeded");
    assert_eq!(parts_of_ids(&line), ["3f2a91c"]);
    let helps = helps(&mut Args::command());
    assert!(helps.iter().any(|help| help.contains("--commit ")));
    for help in &helps {
        assert_eq!(parts_of_ids(help), [""; 0], "{help}");
    }
}
