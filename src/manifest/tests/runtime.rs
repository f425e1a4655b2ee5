//! What is refused in a runtime configuration, and in which words.

use insta::assert_snapshot;

use super::{mistakes, runtime_mistakes};

#[test]
fn settings_of_stacks_are_checked() {
    assert_snapshot!(mistakes(r#"version: 3
before_init: [x]
stack_default: {}
stacks:
  shop:
    befor_init: [a]
    before_plan: echo hi
    after_plan: [""]
    environment: {1A: x, EMPTY: , LIST: [a]}
    project_root: ../x
    runner_image: a b
    terraform_version: [1]
  other: [a]
"#), @r#"
    c.yaml:1:10: version: `3` stands here: one of 1, 2 is expected
    c.yaml:2:1: before_init: `before_init` has no meaning in the configuration file: it belongs below `stack_defaults` or `stacks.<slug>`
    c.yaml:3:1: stack_default: `stack_default` is not a known key: the configuration file does not have it (did you mean `stack_defaults`?)
    c.yaml:6:5: stacks.shop.befor_init: `befor_init` is not a known key: a runtime configuration does not have it (did you mean `before_init`?)
    c.yaml:7:18: stacks.shop.before_plan: a single value stands here: a list is expected (write each item on a line of its own, after `- `)
    c.yaml:8:18: stacks.shop.after_plan[0]: this is not a command: must not be blank
    c.yaml:9:19: stacks.shop.environment.1A: `1A` is not the name of a variable: must not begin with a digit
    c.yaml:9:31: stacks.shop.environment.EMPTY: nothing is written here: a variable has a value; an empty one is written `""`
    c.yaml:9:41: stacks.shop.environment.LIST: a list stands here: text is expected
    c.yaml:10:19: stacks.shop.project_root: `../x` is not a path inside the source: must not hold an empty part, `.` or `..`
    c.yaml:11:19: stacks.shop.runner_image: `a b` is not the name of an image: it is not empty and has no blanks
    c.yaml:12:24: stacks.shop.terraform_version: a list stands here: text is expected
    c.yaml:13:10: stacks.other: a list stands here: a map with the keys of a runtime configuration is expected
    "#);
}

#[test]
fn a_trigger_takes_the_settings_themselves() {
    assert_snapshot!(runtime_mistakes("stack_defaults: {}
stacks: {}
tasks: {}
after_run: [x]
after_ru: []
"), @r"
    c.yaml:1:1: stack_defaults: `stack_defaults` has no meaning in a runtime configuration: the settings themselves are expected here, without the keys above them
    c.yaml:2:1: stacks: `stacks` has no meaning in a runtime configuration: the settings themselves are expected here, without the keys above them
    c.yaml:3:1: tasks: `tasks` has no meaning in a runtime configuration: tasks are declared at the top of the configuration file
    c.yaml:5:1: after_ru: `after_ru` is not a known key: a runtime configuration does not have it (did you mean `after_run`?)
    ");
}
