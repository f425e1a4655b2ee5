//! `airlock task`: one command on a stack, or what its source declares.

use serde_json::{Value, json};

use crate::cli::{
    args::{self, Perform, RunDeclared, TaskVerb},
    failure::Done,
    offline, task_check,
};

use super::{
    Client,
    run::{list_runs, made},
};

pub fn run(args: &args::Task) -> Done {
    offline::block_on(async {
        match &args.verb {
            TaskVerb::Perform(perform) => self::perform(perform).await,
            TaskVerb::Run(declared) => run_declared(declared).await,
            TaskVerb::Check(check) => task_check::run(check),
            TaskVerb::List { stack, limit, how } => {
                list_runs(stack.as_ref(), &[("kind", "task,on_demand".to_owned())], *limit, how).await
            }
        }
    })
}

async fn perform(args: &Perform) -> Done {
    let client = Client::new(&args.how.reach)?;
    let body = json!({"command": command(&args.command), "skip_initialization": args.no_init});
    let run = client.create(&format!("/stacks/{}/tasks", args.stack), &body).await?;
    made(&client, run, args.waiting, &args.how).await
}

async fn run_declared(args: &RunDeclared) -> Done {
    let client = Client::new(&args.how.reach)?;
    let variables: serde_json::Map<String, Value> =
        args.variables.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let path = format!("/stacks/{}/declared-tasks/{}/runs", args.stack, args.name);
    let run = client.create(&path, &json!({"variables": variables})).await?;
    made(&client, run, args.waiting, &args.how).await
}

/// One argument is a command of the shell; of several each reaches the program as it is.
fn command(words: &[String]) -> String {
    match words {
        [command] => command.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_argument_is_a_command_and_several_are_its_words() {
        let command = |words: &[&str]| command(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(command(&["ls | wc -l"]), "ls | wc -l");
        assert_eq!(command(&["terraform", "state", "list"]), "terraform state list");
        assert_eq!(command(&["echo", "a b", "it's", "", "$HOME"]), r"echo 'a b' 'it'\''s' '' '$HOME'");
    }
}
