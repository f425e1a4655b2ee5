//! What wins, and in which order hooks run.

use super::*;

fn name(text: &str) -> EnvName {
    EnvName::new(text).unwrap()
}

fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

fn environment(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect()
}

fn hooks(word: &str) -> Hooks {
    let list = vec![word.to_owned()];
    Hooks { before_plan: list.clone(), after_plan: list.clone(), after_run: list, ..Hooks::default() }
}

/// Contexts c (priority 0), d (priority 5), and by label a and b, as in the documented example.
fn layers() -> Layers {
    let attached = |of: &str, priority| Origin::Context { name: slug(of), priority };
    let automatic = |of: &str| Origin::AutomaticContext { name: slug(of) };
    let contexts = [attached("c", 0), attached("d", 5), automatic("a"), automatic("b")];
    Layers {
        hooks: hooks("stack"),
        contexts: contexts
            .into_iter()
            .map(|origin| ContextHooks { hooks: hooks(origin.context().unwrap().as_str()), origin })
            .collect(),
        ..Layers::default()
    }
}

fn order(layers: &Layers, point: HookPoint) -> String {
    layers.hooks_at(point).iter().map(|hook| hook.command.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn hooks_of_contexts_lie_around_the_stacks_own() {
    let layers = layers();
    assert_eq!(order(&layers, HookPoint::BeforePlan), "c d b a stack");
    assert_eq!(order(&layers, HookPoint::AfterPlan), "stack a b d c");
    assert_eq!(order(&layers, HookPoint::AfterRun), "stack a b d c");
}

#[test]
fn a_list_that_is_set_higher_takes_the_place_of_the_stacks_own() {
    let mut layers = layers();
    let defaults = RuntimeConfig {
        hooks: [(HookPoint::BeforePlan, vec!["defaults".to_owned()]), (HookPoint::BeforeApply, vec!["d".to_owned()])]
            .into(),
        ..RuntimeConfig::default()
    };
    layers.file = Some(FileConfig { defaults, ..FileConfig::default() });
    assert_eq!(order(&layers, HookPoint::BeforePlan), "c d b a stack");
    assert_eq!(order(&layers, HookPoint::BeforeApply), "d");
    layers.file.as_mut().unwrap().entry.hooks.insert(HookPoint::BeforePlan, vec!["entry".to_owned()]);
    assert_eq!(order(&layers, HookPoint::BeforePlan), "c d b a entry");
    layers.trigger.hooks.insert(HookPoint::BeforePlan, Vec::new());
    assert_eq!(order(&layers, HookPoint::BeforePlan), "c d b a");
}

#[test]
fn a_variable_is_taken_from_the_highest_that_has_it_and_says_what_it_overrides() {
    let mut layers = Layers {
        trigger: RuntimeConfig { environment: environment(&[("A", "trigger")]), ..RuntimeConfig::default() },
        file: Some(FileConfig {
            entry: RuntimeConfig {
                environment: environment(&[("A", "entry"), ("B", "entry")]),
                ..RuntimeConfig::default()
            },
            defaults: RuntimeConfig {
                environment: environment(&[("A", "defaults"), ("C", "defaults"), ("D", "defaults")]),
                ..RuntimeConfig::default()
            },
        }),
        ..Layers::default()
    };
    let context = Origin::Context { name: slug("base"), priority: 1 };
    for (key, origin, overrides) in [
        ("A", Origin::Stack, vec![context.clone()]),
        ("B", Origin::Stack, Vec::new()),
        ("C", context.clone(), Vec::new()),
    ] {
        layers.variables.insert(name(key), Known { origin, overrides, hash: None });
    }
    let all = layers.environment();
    let a = &all[&name("A")];
    assert_eq!((a.value, &a.origin), (Some("trigger"), &Origin::Trigger));
    assert_eq!(a.overrides, [Origin::ConfigEntry, Origin::Stack, context.clone(), Origin::StackDefaults]);
    assert_eq!((all[&name("B")].value, &all[&name("B")].origin), (Some("entry"), &Origin::ConfigEntry));
    assert_eq!((all[&name("C")].value, &all[&name("C")].origin), (None, &context));
    assert_eq!((all[&name("D")].value, &all[&name("D")].origin), (Some("defaults"), &Origin::StackDefaults));
}

#[test]
fn the_stacks_own_root_and_binary_win_over_the_defaults_only() {
    let config = |root: &str| RuntimeConfig {
        project_root: Some(RelativePath::new(root).unwrap()),
        terraform_version: Some(root.to_owned()),
        ..RuntimeConfig::default()
    };
    let mut layers =
        Layers { file: Some(FileConfig { defaults: config("low"), ..FileConfig::default() }), ..Layers::default() };
    assert_eq!(layers.project_root().0.as_str(), "low");
    assert_eq!(layers.version(), Some(("low", Origin::StackDefaults)));
    layers.project_root = Some(RelativePath::new("own").unwrap());
    layers.binary = Some("terraform".to_owned());
    assert_eq!(layers.project_root(), (RelativePath::new("own").unwrap(), Origin::Stack));
    assert_eq!(layers.version(), None);
    layers.file.as_mut().unwrap().entry = config("entry");
    assert_eq!(layers.project_root().1, Origin::ConfigEntry);
    layers.trigger = config("mine");
    assert_eq!((layers.project_root().0.as_str(), layers.version()), ("mine", Some(("mine", Origin::Trigger))));
}

#[test]
fn the_file_names_an_image_where_neither_trigger_nor_stack_wins() {
    let config = |image: &str| RuntimeConfig { runner_image: Some(image.to_owned()), ..RuntimeConfig::default() };
    let mut layers = Layers {
        image: "host".to_owned(),
        file: Some(FileConfig { defaults: config("low"), ..FileConfig::default() }),
        ..Layers::default()
    };
    assert_eq!(layers.image_of_file(), Some(("low", Origin::StackDefaults)));
    layers.image = "own".to_owned();
    assert_eq!(layers.image_of_file(), None);
    layers.file.as_mut().unwrap().entry = config("entry");
    assert_eq!(layers.image_of_file(), Some(("entry", Origin::ConfigEntry)));
    layers.image = "entry".to_owned();
    assert_eq!(layers.image_of_file(), None);
    (layers.image, layers.trigger) = ("mine".to_owned(), config("mine"));
    assert_eq!(layers.image_of_file(), None);
}

#[test]
fn a_version_is_one_of_the_operators_or_the_answer_lists_them() {
    let listed: BTreeMap<String, u8> = [("terraform-1.9.5".to_owned(), 0), ("1.8.0".to_owned(), 0)].into();
    assert_eq!(binary_of(&listed, "terraform", "1.9.5").unwrap().0, "terraform-1.9.5");
    assert_eq!(binary_of(&listed, "terraform", "1.8.0").unwrap().0, "1.8.0");
    assert!(binary_of(&listed, "tofu", "1.9.5").is_none());
    assert_eq!(no_such_binary(&listed, "2"), "there is no binary `2`; the operator lists 1.8.0, terraform-1.9.5");
}
