//! What is refused in `airlock:`, and in which words.

use insta::assert_snapshot;

use super::mistakes;

#[test]
fn caps_are_within_their_bounds() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: wasi:python
    run: {command: report.py}
    airlock:
      fuel: 0
      memory: 64M
      output: 1.5GiB
      files: {count: many, bytes: 9GiB}
      processes: 1
      cpu: 1e3
      timeout: 5
"), @r"
    c.yaml:6:13: tasks.report.airlock.fuel: `0` is too small: a whole number of units of fuel from 1 to 1000000000000000 is expected
    c.yaml:7:15: tasks.report.airlock.memory: `64M` is not a size: the unit `M` is unknown: B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (of 1024) are known (did you mean `MiB`?)
    c.yaml:8:15: tasks.report.airlock.output: `1.5GiB` is not a size: whole numbers are expected: take a smaller unit, such as 1536MiB for 1.5GiB
    c.yaml:9:22: tasks.report.airlock.files.count: `many` is not a whole number: a whole number of files from 0 to 1000000 is expected, written with digits only
    c.yaml:9:35: tasks.report.airlock.files.bytes: `9GiB` is too large: 0B to 8GiB are allowed
    c.yaml:10:18: tasks.report.airlock.processes: `1` is too small: a whole number of processes from 8 to 65536 is expected
    c.yaml:11:12: tasks.report.airlock.cpu: `1e3` is not a number of cores: a number of cores from 0.01 to 512 is expected, such as 0.5
    c.yaml:12:7: tasks.report.airlock.timeout: `timeout` has no meaning in `airlock`: it is `run.timeout`, for every type of task
    ");
}

#[test]
fn grants_are_of_known_words() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: wasi:python
    run: {command: report.py}
    airlock:
      workspace: rw
      clock: freeze
      random: yes
      env: [A-B]
      stdin: {text: a, file: b}
      run_task: {}
"), @r"
    c.yaml:6:18: tasks.report.airlock.workspace: `rw` stands here: one of none, read, write is expected
    c.yaml:7:14: tasks.report.airlock.clock: `freeze` stands here: one of real, frozen is expected
    c.yaml:8:15: tasks.report.airlock.random: `yes` stands here: one of real, seeded is expected
    c.yaml:9:13: tasks.report.airlock.env[0]: `A-B` is not the name of a variable: holds `-`; only letters, digits and _ are allowed
    c.yaml:10:14: tasks.report.airlock.stdin: standard input has not one source: either `text` or `file` is expected
    c.yaml:11:7: tasks.report.airlock.run_task: `hmac_secret` is missing: calls are accepted only when their signature can be verified
    ");
}

#[test]
fn hosts_stand_alone_and_in_their_usual_form() {
    assert_snapshot!(mistakes(r#"tasks:
  report:
    type: wasi:python
    run: {command: report.py}
    airlock:
      network:
        - https://api.example.org/x
        - 127.1
        - "*"
        - a.org:http
        - bücher.example
"#), @r"
    c.yaml:7:11: tasks.report.airlock.network[0]: `https://api.example.org/x` is not a host: a host stands alone or with its port, such as api.example.org or db.internal:5432
    c.yaml:8:11: tasks.report.airlock.network[1]: `127.1` is not a host: an address is written as four numbers between dots
    c.yaml:9:11: tasks.report.airlock.network[2]: `*` is not a host: `*.` may only begin a name that has at least two further parts, such as *.example.org
    c.yaml:10:11: tasks.report.airlock.network[3]: `a.org:http` is not a host: a port is a number from 1 to 65535
    c.yaml:11:11: tasks.report.airlock.network[4]: `bücher.example` is not a host: write an internationalised name in its ASCII form, xn--…
    ");
}

#[test]
fn headers_are_bound_to_hosts_that_may_be_reached() {
    assert_snapshot!(mistakes(r#"tasks:
  report:
    type: wasi:python
    run: {command: report.py}
    airlock:
      network: [a.org, "*.b.org"]
      headers:
        c.org: {Authorization: {secret: X}}
        "*.b.org": {Authorization: {secret: X}}
        a.org:
          Authorization: Bearer hunter2
          Host: {secret: X}
          "X Y": {secret: X}
          X-Key: {secret: X}
          x-key: {secret: X}
          Z: {}
"#), @r"
    c.yaml:8:9: tasks.report.airlock.headers.c.org: `c.org` is not in `network`: a header is added to requests that may be made
    c.yaml:9:9: tasks.report.airlock.headers.*.b.org: a header is bound to a wildcard: a secret goes to one named host
    c.yaml:11:26: tasks.report.airlock.headers.a.org.Authorization: a value stands here: a header's value is the name of a sensitive variable, never the secret itself (write `{secret: NAME}`)
    c.yaml:12:11: tasks.report.airlock.headers.a.org.Host: the header `Host` cannot be bound: it belongs to the connection, not to the request
    c.yaml:13:11: tasks.report.airlock.headers.a.org.X Y: the header `X Y` cannot be bound: the name of a header is 1 to 128 letters, digits and some marks, without blanks
    c.yaml:15:11: tasks.report.airlock.headers.a.org.x-key: the header `x-key` cannot be bound: it is bound here twice
    c.yaml:16:11: tasks.report.airlock.headers.a.org.Z: `secret` is missing: it names the sensitive variable that holds the header's value
    ");
}

#[test]
fn what_only_guests_can_be_held_to_is_refused_elsewhere() {
    assert_snapshot!(mistakes("tasks:
  report:
    type: native
    run: {command: date}
    airlock:
      fuel: 5
      files: {count: 1}
      headers: {}
      env: [A]
      workspace: read
      clock: frozen
      random: seeded
"), @r"
    c.yaml:6:7: tasks.report.airlock.fuel: `fuel` does not hold for this type of task: only WASI guests can be held to it; a native task is bounded by memory, cpu, processes and output
    c.yaml:7:7: tasks.report.airlock.files: `files` does not hold for this type of task: only WASI guests can be held to it; a native task is bounded by memory, cpu, processes and output
    c.yaml:8:7: tasks.report.airlock.headers: `headers` does not hold for this type of task: only WASI guests can be held to it; a native task is bounded by memory, cpu, processes and output
    c.yaml:9:7: tasks.report.airlock.env: `env` does not hold for this type of task: only WASI guests can be held to it; a native task is bounded by memory, cpu, processes and output
    c.yaml:10:18: tasks.report.airlock.workspace: `workspace` is always `write` for this type of task: only WASI guests can be held to something else
    c.yaml:11:14: tasks.report.airlock.clock: `clock` is always `real` for this type of task: only WASI guests can be held to something else
    c.yaml:12:15: tasks.report.airlock.random: `random` is always `real` for this type of task: only WASI guests can be held to something else
    ");
}
