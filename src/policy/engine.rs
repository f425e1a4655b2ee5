//! Rego itself. Pure: no clock, no network, nothing that is not in the module and the input.
//!
//! Both syntaxes are read. A module that says nothing about its version is tried as the present one
//! first, then as the one before it; of two errors the one further down is told, for that is where
//! the author's own mistake is.

use std::collections::BTreeSet;

use regorus::{
    Engine, Value as Rego,
    unstable::{Module as Parsed, Ref, Rule, RuleHead},
};
use serde_json::Value;

use super::{
    Answer, Ask, Decision, Module, Origin, Question, TestOutcome, Tested, Trouble, alias,
    decision::{asked, messages},
};
use crate::domain::{PolicyKind, limits};

/// What policies must not call: the outside world, and a time that tests could not set.
const DISABLED: [(&str, u8, &str); 5] = [
    ("http.send", 1, "policies have no network"),
    ("opa.runtime", 0, "policies do not see the server's environment"),
    ("rego.parse_module", 2, "policies do not read policies"),
    ("time.now_ns", 0, "policies have no clock; the input's timestamps tell the time"),
    ("trace", 1, "use print"),
];

/// Answers what was asked.
pub(super) fn answer(ask: Ask) -> Answer {
    let answered = match ask {
        Ask::Check { kind, module } => check(kind, &module).map(|()| Answer::Sound),
        Ask::Decide(question) => decide(&question).map(|decision| Answer::Decided(Box::new(decision))),
        Ask::Test { modules } => test(&modules).map(Answer::Tested),
    };
    answered.unwrap_or_else(Answer::Trouble)
}

fn check(kind: PolicyKind, module: &Module) -> Result<(), Trouble> {
    let mut engine = load(std::slice::from_ref(module))?;
    add_aliases(&mut engine, Some(kind))?;
    let rules = Rules::of(&mut engine, 0)?;
    refuse_unheard(kind, &rules)?;
    if kind.rules().iter().any(|rule| rules.has(rule)) {
        return Ok(());
    }
    let known = kind.rules().iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>();
    Err(Trouble::new(format!(
        "it decides nothing: a policy of the kind {kind} needs one of the rules {}",
        known.join(", ")
    )))
}

pub(super) fn decide(question: &Question) -> Result<Decision, Trouble> {
    let mut engine = load(std::slice::from_ref(&question.module))?;
    add_aliases(&mut engine, Some(question.kind))?;
    let input = Rego::from_json_str(question.input.get()).map_err(|error| trouble(&error))?;
    engine.set_input(input);
    engine.set_gather_prints(true);
    engine.set_enable_coverage(question.explain);
    let rules = Rules::of(&mut engine, 0)?;
    refuse_unheard(question.kind, &rules)?;
    let mut decision = Decision::default();
    for rule in asked(question.kind).filter(|rule| rules.has(rule)) {
        if let Some(value) = rules.value(&mut engine, rule)? {
            decision.take(question.kind, rule, &value)?;
        }
    }
    decision.access.keeps = !rules.has("read") && !rules.has("write");
    if question.explain {
        decision.printed = engine.take_prints().unwrap_or_default();
        decision.printed.truncate(limits::POLICY_MESSAGES);
        let files = engine.get_coverage_report().map(|report| report.files).unwrap_or_default();
        if let Some(file) = files.into_iter().find(|file| file.path == question.module.name) {
            decision.reached = file.covered.into_iter().collect();
            decision.unreached = file.not_covered.into_iter().collect();
        }
        decision.origins = rules.origins(&mut engine, question.kind);
    }
    Ok(decision)
}

/// A rule that nothing here carries out is told, with what to use instead.
fn refuse_unheard(kind: PolicyKind, rules: &Rules) -> Result<(), Trouble> {
    for (rule, instead) in kind.refused_rules() {
        if let Some(defined) = rules.defined.iter().find(|one| one.rule == *rule) {
            let message = format!("the rule `{rule}` is not carried out here: {instead}");
            return Err(Trouble { message, line: Some(defined.line), column: None });
        }
    }
    Ok(())
}

fn test(modules: &[Module]) -> Result<Vec<Tested>, Trouble> {
    let mut engine = load(&[])?;
    for module in modules {
        add(&mut engine, module).map_err(|trouble| Trouble::new(format!("{}: {trouble}", module.name)))?;
    }
    // What is wrong with the modules beside that is what their tests come to.
    add_aliases(&mut engine, None).ok();
    engine.set_gather_prints(true);
    let mut tested = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        let rules = Rules::of(&mut engine, index)?;
        let names: BTreeSet<&str> =
            rules.defined.iter().map(|one| one.rule.as_str()).filter(|rule| rule.starts_with("test_")).collect();
        for name in names {
            let line = rules.defined.iter().find(|one| one.rule == name).map_or(0, |one| one.line);
            let outcome = match rules.value(&mut engine, name) {
                Ok(Some(Value::Bool(true))) => TestOutcome::Passed,
                Ok(_) => TestOutcome::Failed,
                Err(trouble) => TestOutcome::Trouble(trouble),
            };
            tested.push(Tested { module: module.name.clone(), name: name.to_owned(), line, outcome });
        }
    }
    tested.sort_by(|one, other| (&one.module, one.line).cmp(&(&other.module, other.line)));
    Ok(tested)
}

/// An engine with these modules, each in the syntax that it is written in.
fn load(modules: &[Module]) -> Result<Engine, Trouble> {
    let mut engine = Engine::new();
    for (name, arguments, why) in DISABLED {
        let said = Trouble::new(format!("`{name}` is not allowed: {why}"));
        let refuse = move |_: Vec<Rego>| Err(said.clone().into());
        engine.add_extension(name.to_owned(), arguments, Box::new(refuse)).map_err(|error| trouble(&error))?;
    }
    // Values are shown as the input holds them; what is sensitive was replaced before.
    let as_it_is = |mut given: Vec<Rego>| Ok(given.swap_remove(0));
    engine.add_extension("sanitized".to_owned(), 1, Box::new(as_it_is)).map_err(|error| trouble(&error))?;
    for module in modules {
        add(&mut engine, module)?;
    }
    Ok(engine)
}

/// Adds each alias that a module uses and nobody defines, to the package that uses it. What else is wrong with
/// the modules is the error.
fn add_aliases(engine: &mut Engine, kind: Option<PolicyKind>) -> Result<(), Trouble> {
    // Each turn defines a name that was undefined in a package.
    for _ in 0..=engine.get_modules().len() * alias::ALL {
        // Evaluating anything at all puts the statements of every rule into an order.
        let Err(error) = engine.eval_query("true".to_owned(), false) else { return Ok(()) };
        let missing = undefined(&format!("{error:#}")).and_then(|(file, name)| {
            let alias = alias::of(kind, &name)?;
            Some((alias, package_of(engine, &file)?))
        });
        let Some((alias, package)) = missing else { return Err(trouble(&error)) };
        engine.set_rego_v0(false);
        engine.add_policy(alias.name.to_owned(), alias.module(&package)).map_err(|error| trouble(&error))?;
    }
    Ok(())
}

/// The file and the name, where an error says that a name is undefined.
fn undefined(error: &str) -> Option<(String, String)> {
    let (_, place) = error.split_once("--> ")?;
    let file = place.lines().next()?.rsplitn(3, ':').nth(2)?;
    let (_, name) = error.rsplit_once("error: use of undefined variable `")?;
    Some((file.to_owned(), name.split('`').next()?.to_owned()))
}

/// `a.b`: the package of a file's module.
fn package_of(engine: &mut Engine, file: &str) -> Option<String> {
    let index = engine.get_modules().iter().position(|module| module.package.span.source.get_path() == file)?;
    let packages = engine.get_policy_package_components().ok()?;
    path(&packages.get(index)?.components).strip_prefix("data.").map(str::to_owned)
}

fn add(engine: &mut Engine, module: &Module) -> Result<(), Trouble> {
    let present = add_as(engine, module, false);
    let Err(present) = present else { return Ok(()) };
    let Err(before) = add_as(engine, module, true) else { return Ok(()) };
    let place = |trouble: &Trouble| (trouble.line, trouble.column);
    // A missing keyword of the present syntax only says that the other one was meant.
    let older = present.message.contains("keyword is required");
    Err(if older || place(&before) > place(&present) { before } else { present })
}

fn add_as(engine: &mut Engine, module: &Module, v0: bool) -> Result<(), Trouble> {
    engine.set_rego_v0(v0);
    engine.add_policy(module.name.clone(), module.body.clone()).map(drop).map_err(|error| trouble(&error))
}

/// The rules of one loaded module.
struct Rules {
    module: Ref<Parsed>,
    /// `data.<package>`.
    package: String,
    defined: Vec<Defined>,
}

/// One definition of a rule; a rule may have several.
struct Defined {
    rule: String,
    line: u32,
    definition: Ref<Rule>,
}

impl Rules {
    fn of(engine: &mut Engine, index: usize) -> Result<Self, Trouble> {
        let packages = engine.get_policy_package_components().map_err(|error| trouble(&error))?;
        let missing = || Trouble::new("it has no package");
        let package = packages.get(index).ok_or_else(missing)?;
        let module = engine.get_modules().get(index).ok_or_else(missing)?.clone();
        let defined = module.policy.iter().filter_map(defined).collect();
        Ok(Self { package: path(&package.components), module, defined })
    }

    fn has(&self, rule: &str) -> bool {
        self.defined.iter().any(|one| one.rule == rule)
    }

    /// What a rule gives; none where it is undefined.
    fn value(&self, engine: &mut Engine, rule: &str) -> Result<Option<Value>, Trouble> {
        let value = engine.eval_rule(format!("{}.{rule}", self.package)).map_err(|error| trouble(&error))?;
        json(&value)
    }

    /// Each definition that gave something by itself. What cannot be found out is left out: the
    /// decision stands without it.
    fn origins(&self, engine: &mut Engine, kind: PolicyKind) -> Vec<Origin> {
        let wanted: Vec<&str> = asked(kind).collect();
        let mut origins = Vec::new();
        for one in self.defined.iter().filter(|one| wanted.contains(&one.rule.as_str())) {
            let Ok(data) = engine.eval_rule_in_module(&self.module, &one.definition, false) else { continue };
            let Some(value) = self.within(&data, &one.rule) else { continue };
            let gave = match &value {
                Value::Bool(true) => Vec::new(),
                other => messages(&one.rule, other).unwrap_or_default(),
            };
            if value == true || !gave.is_empty() {
                origins.push(Origin { rule: one.rule.clone(), line: one.line, gave });
            }
        }
        origins
    }

    fn within(&self, data: &Rego, rule: &str) -> Option<Value> {
        let data = json(data).ok().flatten()?;
        let pointer = self.package.trim_start_matches("data").replace('.', "/");
        data.pointer(&pointer)?.get(rule).cloned()
    }
}

fn defined(rule: &Ref<Rule>) -> Option<Defined> {
    let (refr, span) = match rule.as_ref() {
        Rule::Spec { span, head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. } => (refr, span),
        Rule::Default { span, refr, args, .. } if args.is_empty() => (refr, span),
        Rule::Spec { head: RuleHead::Func { .. }, .. } | Rule::Default { .. } => return None,
    };
    let text = refr.span().text();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    Some(Defined { rule: text[..end].to_owned(), line: span.line, definition: rule.clone() })
}

/// `data.a.b`, with what is no identifier in brackets.
fn path(components: &[String]) -> String {
    let mut path = "data".to_owned();
    for component in components {
        let plain = component.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain && !component.starts_with(|c: char| c.is_ascii_digit()) {
            path.push('.');
            path.push_str(component);
        } else {
            path.push_str(&format!("[{}]", Value::from(component.as_str())));
        }
    }
    path
}

fn json(value: &Rego) -> Result<Option<Value>, Trouble> {
    if *value == Rego::Undefined {
        return Ok(None);
    }
    let text = value.to_json_str().map_err(|error| trouble(&error))?;
    serde_json::from_str(&text).map(Some).map_err(|error| trouble(&error))
}

/// The library says where as `--> file:line:column`, shows the line, and then says what.
fn trouble(error: &impl std::fmt::Display) -> Trouble {
    let text = format!("{error:#}");
    let place = text.split_once("--> ").and_then(|(_, rest)| rest.lines().next()).map(|place| place.rsplit(':'));
    let mut numbers = place.into_iter().flatten().map_while(|number| number.trim().parse().ok());
    let (column, line) = (numbers.next(), numbers.next());
    let what = text.rsplit_once("\nerror: ").map_or(text.as_str(), |(_, what)| what);
    let mut message: String = what.trim().chars().take(limits::POLICY_MESSAGE_CHARS).collect();
    if message.is_empty() {
        message = "it cannot be evaluated".to_owned();
    }
    Trouble { message, line, column }
}
