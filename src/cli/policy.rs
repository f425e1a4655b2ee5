//! `airlock policy test FILE…`: the `test_` rules of policies, without a server. Each run of it
//! happens in the same bounded child that a server evaluates in.

use std::{fs::File, io::Read as _, path::Path};

use serde::Serialize;

use crate::{
    domain::limits,
    policy::{Answer, Ask, Evaluator, Module, TestOutcome, Tested},
};

use super::{
    Outcome,
    args::{Policy, PolicyTest, PolicyVerb},
    clean,
    failure::{Done, Failure},
    output,
};

pub(super) fn run(args: &Policy) -> Done {
    match &args.verb {
        PolicyVerb::Test(args) => test(args),
    }
}

/// What one test came to, as `--json` shows it.
#[derive(Serialize)]
struct Shown<'t> {
    file: &'t str,
    line: u32,
    name: &'t str,
    /// `passed`, `failed`, `error`
    outcome: &'static str,
    error: Option<String>,
}

/// Exit codes: 0 all passed, 1 some did not, 3 no policy or no tests, 4 no file.
fn test(args: &PolicyTest) -> Done {
    let modules = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let tested = asked(modules)?;
    if tested.is_empty() {
        return Err(Failure::refused("there is no rule whose name begins with test_")
            .next("write rules such as `test_rm_is_denied if count(deny) > 0 with input as {…}`"));
    }
    let shown: Vec<Shown<'_>> = tested.iter().map(shown).collect();
    if args.shown.json {
        output::json(&shown)?;
    } else {
        for one in &shown {
            output::line(&clean::lines(&words(one)))?;
        }
        output::line(&summary(&shown))?;
    }
    let all = shown.iter().all(|one| one.outcome == "passed");
    Ok(if all { Outcome::Done } else { Outcome::Failed })
}

fn read(path: &Path) -> Result<Module, Failure> {
    let mut body = String::new();
    let most = limits::POLICY_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_string(&mut body));
    read.map_err(|error| Failure::file("read", path, &error))?;
    if body.len() > limits::POLICY_BYTES {
        let why = format!("{} has more than {} KiB", path.display(), limits::POLICY_BYTES >> 10);
        return Err(Failure::refused(why));
    }
    Ok(Module { name: path.display().to_string(), body })
}

fn asked(modules: Vec<Module>) -> Result<Vec<Tested>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let evaluator = Evaluator::new("/proc/self/exe".into(), None);
    match runtime.block_on(evaluator.ask(Ask::Test { modules })) {
        Ok(Answer::Tested(tested)) => Ok(tested),
        Ok(Answer::Trouble(trouble)) | Err(trouble) => Err(Failure::refused(trouble)),
        Ok(Answer::Sound | Answer::Decided(_)) => Err(Failure::failed("the evaluation answered something else")),
    }
}

fn shown(tested: &Tested) -> Shown<'_> {
    let (outcome, error) = match &tested.outcome {
        TestOutcome::Passed => ("passed", None),
        TestOutcome::Failed => ("failed", None),
        TestOutcome::Trouble(trouble) => ("error", Some(trouble.to_string())),
    };
    Shown { file: &tested.module, line: tested.line, name: &tested.name, outcome, error }
}

fn words(one: &Shown<'_>) -> String {
    let word = match one.outcome {
        "passed" => "ok   ",
        "failed" => "FAIL ",
        _ => "ERROR",
    };
    let why = one.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{word} {} ({}:{}){why}", one.name, one.file, one.line)
}

fn summary(all: &[Shown<'_>]) -> String {
    let count = |outcome: &str| all.iter().filter(|one| one.outcome == outcome).count();
    let (passed, failed, errors) = (count("passed"), count("failed"), count("error"));
    match (failed, errors) {
        (0, 0) => format!("{passed} passed"),
        (failed, 0) => format!("{passed} passed, {failed} failed"),
        (failed, errors) => format!("{passed} passed, {failed} failed, {errors} broken"),
    }
}
