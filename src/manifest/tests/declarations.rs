//! What is refused in a task, and in which words.

use insta::assert_snapshot;

use super::{mistakes, service_mistakes};

#[test]
fn a_time_limit_beyond_a_day_is_refused() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run:
      command: date
      timeout: 90000
"), @"c.yaml:6:16: tasks.report.run.timeout: `90000` is too large: a whole number of seconds from 1 to 86400 is expected");
}

#[test]
fn what_is_meaningless_in_a_task_is_named() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    web: {}
    workers: {}
    crons: {}
    dependencies: {}
    stack: {}
"), @r"
    c.yaml:5:5: tasks.report.web: `web` has no meaning in a task: a task runs to completion and serves nothing: no route leads to it
    c.yaml:6:5: tasks.report.workers: `workers` has no meaning in a task: a task is one command that runs to completion
    c.yaml:7:5: tasks.report.crons: `crons` has no meaning in a task: a task runs when it is triggered; schedules are set on the stack
    c.yaml:8:5: tasks.report.dependencies: `dependencies` has no meaning in a task: install what the task needs in `hooks.build`
    c.yaml:9:5: tasks.report.stack: `stack` has no meaning in a task: a task has one `type`; install more in `hooks.build`, or use an image
    ");
}

#[test]
fn mounts_that_overlap_are_refused() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    mounts:
      data: {source: storage}
      /data/deep/: {source: tmp}
      database: {source: tmp}
"), @"c.yaml:7:7: tasks.report.mounts./data/deep/: the mounts `data` and `/data/deep/` overlap: no mount may stand inside another; the other one is in line 6");
}

#[test]
fn a_relationship_to_an_unknown_service_is_refused() {
    assert_snapshot!(service_mistakes(r#"services: {search: {type: opensearch}}
tasks:
  report:
    type: native
    run: {command: date}
    relationships:
      db:
      cash: "cash:redis"
      search:
    mounts:
      x: {source: service, service: files}
"#), @r"
    c.yaml:8:13: tasks.report.relationships.cash: the service `cash` is unknown: the operator registers services, by name (registered are cache, db)
    c.yaml:9:13: tasks.report.relationships.search: the service `search` is unknown: Airlock does not start what this file declares: the operator registers services (registered are cache, db)
    c.yaml:11:37: tasks.report.mounts.x.service: the service `files` is unknown: the operator registers services, by name (registered are cache, db)
    ");
}

#[test]
fn a_relationship_to_a_task_is_refused() {
    assert_snapshot!(mistakes(r#"tasks:
  report:
    type: native
    run: {command: date}
    relationships:
      other: "report:http"
"#), @"c.yaml:6:14: tasks.report.relationships.other: `report` is a task: nothing can be connected to a task: a task is triggered, through the API");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_is_near() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    timeout: 5
    command: x
    variable: {}
    zzz: 1
    source: {rot: /a}
"), @r"
    c.yaml:5:5: tasks.report.timeout: `timeout` has no meaning in a task: it is `run.timeout`
    c.yaml:6:5: tasks.report.command: `command` has no meaning in a task: it is `run.command`
    c.yaml:7:5: tasks.report.variable: `variable` is not a known key: a task does not have it (did you mean `variables`?)
    c.yaml:8:5: tasks.report.zzz: `zzz` is not a known key: a task does not have it (known are type, run, source, authorizations, hooks, relationships, mounts, variables, airlock)
    c.yaml:9:14: tasks.report.source.rot: `rot` is not a known key: `source` does not have it (did you mean `root`?)
    ");
}

#[test]
fn a_tab_is_refused_where_it_stands() {
    assert_snapshot!(mistakes("tasks:\n  report:\n    type: native\n  \trun: {command: date}\n"), @"c.yaml:4:3: tasks.report.type: a tab stands where YAML allows none: YAML indents with spaces only (replace it by spaces)");
}

#[test]
fn a_tab_at_the_start_of_a_line_is_refused_where_it_stands() {
    assert_snapshot!(mistakes("tasks:\n\treport: {}\n"), @"c.yaml:2:1: tasks: a tab stands in the indentation: YAML indents with spaces only (replace it by spaces)");
}

#[test]
fn what_is_required_is_asked_for() {
    assert_snapshot!(mistakes("tasks:
  a:
  b: {type: native, run: {}}
"), @r"
    c.yaml:2:3: tasks.a: `type` is missing: it says what carries the task out, such as native or wasi:python
    c.yaml:2:3: tasks.a: `run` is missing: a task runs one command: `run: {command: …}`
    c.yaml:3:21: tasks.b.run: `command` is missing: it is what the task runs
    ");
}

#[test]
fn a_type_that_is_none_is_refused_with_the_one_that_is_near() {
    assert_snapshot!(mistakes(r#"tasks:
  a: {type: wasm:python, run: {command: x}}
  b: {type: nodejs, run: {command: x}}
  c: {type: wasi:tool.wat, run: {command: x}}
  d: {type: "wasi:../x.wasm", run: {command: x}}
  e: {type: "image:", run: {command: x}}
  f: {type: wasi:tools/x, run: {command: x}}
  g: {type: [native], run: {command: x}}
"#), @r"
    c.yaml:2:13: tasks.a.type: `wasm:python` is not a type of task: a type is native, wasi:<guest>, wasi:<path>.wasm, image:<name> or a runtime such as nodejs:22 (did you mean `wasi`?)
    c.yaml:3:13: tasks.b.type: `nodejs` is not a type of task: a type is native, wasi:<guest>, wasi:<path>.wasm, image:<name> or a runtime such as nodejs:22
    c.yaml:4:13: tasks.c.type: `wasi:tool.wat` is not a type of task: text modules and precompiled ones are not run: build a .wasm file
    c.yaml:5:13: tasks.d.type: `wasi:../x.wasm` is not a type of task: must not hold an empty part, `.` or `..`
    c.yaml:6:13: tasks.e.type: `image:` is not a type of task: must not be empty
    c.yaml:7:13: tasks.f.type: `wasi:tools/x` is not a type of task: a guest in the source is a file that ends in .wasm
    c.yaml:8:13: tasks.g.type: a list stands here: text is expected
    ");
}

#[test]
fn numbers_are_decimal_digits_without_quotes() {
    assert_snapshot!(mistakes(r#"tasks:
  t0: {type: native, run: {command: x, timeout: "60"}}
  t1: {type: native, run: {command: x, timeout: 010}}
  t2: {type: native, run: {command: x, timeout: 1_000}}
  t3: {type: native, run: {command: x, timeout: 1:30}}
  t4: {type: native, run: {command: x, timeout: 0x10}}
  t5: {type: native, run: {command: x, timeout: 1e3}}
  t6: {type: native, run: {command: x, timeout: -1}}
  t7: {type: native, run: {command: x, timeout: 0}}
  t8: {type: native, run: {command: x, timeout: 60.5}}
  t9: {type: native, run: {command: x, timeout: [60]}}
  t10: {type: native, run: {command: x, timeout: 99999999999999999999}}
  t11: {type: native, run: {command: x, timeout: "\u202e"}}
  t12: {type: native, run: {command: x, timeout: }}
"#), @r"
    c.yaml:2:49: tasks.t0.run.timeout: `60` is text: a whole number of seconds from 1 to 86400 is expected (write it without quotes)
    c.yaml:3:49: tasks.t1.run.timeout: `010` begins with a zero: a whole number of seconds from 1 to 86400 is expected (remove the leading zero: older YAML reads it as octal)
    c.yaml:4:49: tasks.t2.run.timeout: `1_000` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:5:49: tasks.t3.run.timeout: `1:30` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:6:49: tasks.t4.run.timeout: `0x10` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:7:49: tasks.t5.run.timeout: `1e3` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:8:49: tasks.t6.run.timeout: `-1` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:9:49: tasks.t7.run.timeout: `0` is too small: a whole number of seconds from 1 to 86400 is expected
    c.yaml:10:49: tasks.t8.run.timeout: `60.5` is not a whole number: a whole number of seconds from 1 to 86400 is expected, written with digits only
    c.yaml:11:49: tasks.t9.run.timeout: a list stands here: a whole number is expected
    c.yaml:12:50: tasks.t10.run.timeout: `99999999999999999999` is too large: a whole number of seconds from 1 to 86400 is expected
    c.yaml:13:50: tasks.t11.run.timeout: `\u{202e}` is text: a whole number of seconds from 1 to 86400 is expected (write it without quotes)
    c.yaml:14:48: tasks.t12.run.timeout: nothing is written here: a whole number is expected
    ");
}

#[test]
fn truth_values_of_older_yaml_are_refused_with_what_to_write() {
    assert_snapshot!(mistakes(r#"tasks:
  a: {type: native, run: {command: x}, airlock: {artifacts: yes}}
  b: {type: native, run: {command: x}, airlock: {artifacts: Off}}
  c: {type: native, run: {command: x}, airlock: {artifacts: "true"}}
  d: {type: native, run: {command: x}, airlock: {artifacts: maybe}}
"#), @r"
    c.yaml:2:61: tasks.a.airlock.artifacts: `yes` is not a truth value: `true` or `false` is expected, without quotes (write `true`)
    c.yaml:3:61: tasks.b.airlock.artifacts: `Off` is not a truth value: `true` or `false` is expected, without quotes (write `false`)
    c.yaml:4:61: tasks.c.airlock.artifacts: `true` is not a truth value: `true` or `false` is expected, without quotes (write `true`)
    c.yaml:5:61: tasks.d.airlock.artifacts: `maybe` is not a truth value: `true` or `false` is expected, without quotes
    ");
}

#[test]
fn a_guests_command_must_have_words() {
    assert_snapshot!(mistakes(r#"tasks:
  a: {type: wasi:x, run: {command: "say 'hello"}}
  b: {type: wasi:x, run: {command: 'say "hello'}}
  c: {type: wasi:x, run: {command: 'say \'}}
  d: {type: native, run: {command: " "}}
  e: {type: native, run: {command: "a\0b"}}
"#), @r#"
    c.yaml:2:36: tasks.a.run.command: the command cannot be split into words: the ' that opens at character 5 is not closed
    c.yaml:3:36: tasks.b.run.command: the command cannot be split into words: the " that opens at character 5 is not closed
    c.yaml:4:36: tasks.c.run.command: the command cannot be split into words: a backslash at the end has nothing to escape
    c.yaml:5:36: tasks.d.run.command: this is not a command: must not be blank
    c.yaml:6:36: tasks.e.run.command: a NUL character stands here: programs cannot be given one
    "#);
}

#[test]
fn names_obey_their_rules() {
    assert_snapshot!(mistakes("tasks:
  Report: {}
  -a: {}
  a.b: {}
stacks:
  Shop: {}
"), @r"
    c.yaml:2:3: tasks.Report: `Report` is not the name of a task: holds `R`; only a-z, 0-9, - and _ are allowed
    c.yaml:3:3: tasks.-a: `-a` is not the name of a task: must begin with a letter or a digit
    c.yaml:4:3: tasks.a.b: `a.b` is not the name of a task: holds `.`; only a-z, 0-9, - and _ are allowed
    c.yaml:6:3: stacks.Shop: `Shop` is not the slug of a stack: holds `S`; only a-z, 0-9 and - are allowed
    ");
}

#[test]
fn relationships_have_three_forms_and_no_other() {
    assert_snapshot!(mistakes(r#"tasks:
  report:
    type: native
    run: {command: date}
    relationships:
      a: db
      b: [db]
      c: {servce: db}
      d: "DB:mysql"
      e: "db:"
      my-db:
      my_db:
"#), @r"
    c.yaml:6:10: tasks.report.relationships.a: `db` has no endpoint: a relationship is `service:endpoint`, {service, endpoint}, or nothing
    c.yaml:7:10: tasks.report.relationships.b: a list stands here: a relationship is one service
    c.yaml:8:11: tasks.report.relationships.c.servce: `servce` is not a known key: a relationship does not have it (did you mean `service`?)
    c.yaml:9:10: tasks.report.relationships.d: `DB` is not the name of a service: holds `D`; only a-z, 0-9, - and _ are allowed
    c.yaml:10:10: tasks.report.relationships.e: `` is not the name of an endpoint: must not be empty
    c.yaml:12:7: tasks.report.relationships.my_db: `my-db` and `my_db` share their variables: both would be called MY_DB_HOST
    ");
}

#[test]
fn mounts_say_where_they_come_from() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    mounts:
      a: {}
      b: {source: disk}
      c: {source: service}
      d: {source: tmp, service: db}
      /: {source: tmp}
      ../e: {source: tmp}
      f: {source: storage, source_path: ../../etc}
"), @r"
    c.yaml:6:7: tasks.report.mounts.a: `source` is missing: a mount says where it comes from: instance, tmp, storage or service
    c.yaml:7:19: tasks.report.mounts.b.source: `disk` stands here: one of instance, tmp, storage, service, local, temporary is expected
    c.yaml:8:7: tasks.report.mounts.c: `service` is missing: `source: service` needs the name of the service
    c.yaml:9:24: tasks.report.mounts.d.service: `service` has no meaning here: it goes with `source: service`
    c.yaml:10:7: tasks.report.mounts./: `/` is not the path of a mount: a mount cannot stand for all of the task's files
    c.yaml:11:7: tasks.report.mounts.../e: `../e` is not the path of a mount: must not hold an empty part, `.` or `..`
    c.yaml:12:41: tasks.report.mounts.f.source_path: `../../etc` is not a path inside the source: must not hold an empty part, `.` or `..`
    ");
}

#[test]
fn variables_are_grouped_by_prefix() {
    assert_snapshot!(mistakes(r#"tasks:
  report:
    type: native
    run: {command: date}
    variables:
      A: "1"
      env:
        1A: x
        EMPTY:
        a: 1
        A: 2
      "x y": {a: 1}
      env2: {a: !secret x}
"#), @r#"
    c.yaml:6:10: tasks.report.variables.A: `A` is a prefix here, not a variable: variables are written prefix → name → value (write `env: {A: …}` for a variable of the environment)
    c.yaml:8:9: tasks.report.variables.env.1A: `1A` is not the name of a variable: must not begin with a digit
    c.yaml:9:14: tasks.report.variables.env.EMPTY: nothing is written here: a variable has a value; an empty one is written `""`
    c.yaml:11:9: tasks.report.variables.env.A: `a` and `A` are one variable: names become upper-case in the environment
    c.yaml:12:7: tasks.report.variables.x y: `x y` is not a prefix: only letters, digits, - and _ are allowed
    c.yaml:13:25: tasks.report.variables.env2.a: the tag `!secret` stands here: tags other than `!!str` are not read
    "#);
}

#[test]
fn authorizations_name_what_exists() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    authorizations:
      - {type: task, resource: reprot, action: operate}
      - {type: env, resource: report, action: view}
      - {type: tusk, action: look}
      - {}
      - view
"), @r"
    c.yaml:6:32: tasks.report.authorizations[0].resource: no task is called `reprot`: an authorization names one of the tasks that are declared here (did you mean `report`?)
    c.yaml:7:21: tasks.report.authorizations[1].resource: `resource` has no meaning with `type: env`: it names a task
    c.yaml:8:16: tasks.report.authorizations[2].type: `tusk` stands here: one of task, env is expected (did you mean `task`?)
    c.yaml:8:30: tasks.report.authorizations[2].action: `look` stands here: one of operate, view is expected
    c.yaml:9:9: tasks.report.authorizations[3]: `type` is missing: it is task or env
    c.yaml:9:9: tasks.report.authorizations[3]: `action` is missing: it is operate or view
    c.yaml:10:9: tasks.report.authorizations[4]: a single value stands here: a map with the keys of an authorization is expected
    ");
}
