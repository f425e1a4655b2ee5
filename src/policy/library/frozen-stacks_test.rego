package airlock.frozen_stacks_test

import data.airlock.frozen_stacks
import rego.v1

labelled(labels) := {"stack": {"labels": labels}}

test_a_frozen_stack_is_left_alone if frozen_stacks.deny_write with input as labelled(["prod", "frozen"])

test_others_are_not if not frozen_stacks.deny_write with input as labelled(["prod"])

test_nor_one_without_labels if not frozen_stacks.deny_write with input as labelled([])
