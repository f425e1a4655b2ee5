//! What is refused before any key has a meaning, and in which words.

use insta::assert_snapshot;

use super::mistakes;

#[test]
fn a_key_that_stands_twice_is_refused() {
    assert_snapshot!(mistakes("tasks:
  a: {type: native, run: {command: x}}
  a: {type: native, run: {command: y}}
"), @"c.yaml:3:3: tasks.a: the key `a` stands here twice: it was given in line 2; one of the two would be lost");
}

#[test]
fn a_second_document_is_refused() {
    assert_snapshot!(mistakes("tasks: {}
---
stacks: {}
"), @"c.yaml:2:1: a second document begins: a file holds one YAML document (remove the `---`, or what stands below it)");
}

#[test]
fn a_quote_that_is_not_closed_is_refused() {
    assert_snapshot!(mistakes("tasks: \"abc\n"), @"c.yaml:1:12: tasks: a quoted text goes on where it cannot: its second quote is missing, or its lines are not indented");
}

#[test]
fn a_bracket_that_is_not_closed_is_refused() {
    assert_snapshot!(mistakes("tasks: {a: [b\n"), @"c.yaml:1:12: tasks.a[0]: a `[` is not closed: the file ends before its other half");
}

#[test]
fn a_colon_in_a_value_is_refused_with_what_to_do() {
    assert_snapshot!(mistakes("tasks: a: b\n"), @"c.yaml:1:9: a `:` stands where none is expected: it would make a key inside a value (quote the text when the colon belongs to it; else look for a missing `:` or indentation above)");
}

#[test]
fn a_line_that_does_not_fit_is_refused() {
    assert_snapshot!(mistakes("tasks:
    a: 1
  b: 2
"), @"c.yaml:3:3: this does not fit what stands above: keys and items of one level begin in the same column");
}

#[test]
fn a_key_without_a_colon_is_refused() {
    assert_snapshot!(mistakes("tasks
stacks: {}
"), @"c.yaml:2:7: a `:` stands where none is expected: it would make a key inside a value (quote the text when the colon belongs to it; else look for a missing `:` or indentation above)");
}

#[test]
fn an_alias_of_nothing_is_refused() {
    assert_snapshot!(mistakes("tasks: *shared\n"), @"c.yaml:1:8: tasks: this alias names no anchor: `*name` refers to a value that was marked `&name` above");
}

#[test]
fn an_alias_inside_its_own_anchor_is_refused() {
    assert_snapshot!(mistakes("tasks: &a {b: *a}\n"), @"c.yaml:1:15: tasks.b: an alias stands inside its own anchor: what it names is not complete here");
}

#[test]
fn a_merge_of_what_is_no_map_is_refused() {
    assert_snapshot!(mistakes("tasks: {<<: [1]}\n"), @"c.yaml:1:9: tasks: `<<` has nothing to merge: it takes a map, an alias of one, or a list of these");
}

#[test]
fn a_directive_is_refused() {
    assert_snapshot!(mistakes("%YAML 1.1
---
tasks: {}
"), @"c.yaml:1:1: a `%` directive stands here: YAML directives are not read");
}

#[test]
fn a_tag_is_refused() {
    assert_snapshot!(mistakes("tasks: !include tasks.yaml\n"), @"c.yaml:1:17: tasks: the tag `!include` stands here: tags other than `!!str` are not read");
}

#[test]
fn a_list_as_a_key_is_refused() {
    assert_snapshot!(mistakes("? [a]
: b
"), @"c.yaml:1:3: a list or a map stands where a key is expected: keys are text");
}

#[test]
fn a_missing_key_is_refused() {
    assert_snapshot!(mistakes("tasks: {}
: b
"), @"c.yaml:2:1: a key is missing: a value must have a name");
}

#[test]
fn a_character_that_begins_no_value_is_refused() {
    assert_snapshot!(mistakes("tasks: @a\n"), @"c.yaml:1:8: tasks: the character U+0040 begins a value: YAML does not allow it here (quote the text)");
}

#[test]
fn an_unknown_escape_is_refused() {
    assert_snapshot!(mistakes("tasks: \"\\q\"\n"), @r#"c.yaml:1:8: tasks: an unknown `\` escape stands in a double-quoted text: YAML does not define it (write `\\` for a backslash, or use single quotes)"#);
}

#[test]
fn a_list_at_the_top_is_refused() {
    assert_snapshot!(mistakes("- tasks\n"), @"c.yaml:1:1: a list stands here: a map with the keys of the configuration file is expected");
}

#[test]
fn text_at_the_top_is_refused() {
    assert_snapshot!(mistakes("tasks\n"), @"c.yaml:1:1: a single value stands here: a map with the keys of the configuration file is expected");
}
