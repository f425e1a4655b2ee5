package airlock.frozen_stacks

import rego.v1

# On a stack with the label `frozen` nobody but the installation's admins changes anything.
#
# Roles come first; an access policy only takes away. One that has neither `read` nor `write`, like this one, takes
# away what it denies and nothing else. One that has either of them leaves only what these grant: whoever they do
# not name loses the stack.
deny_write if "frozen" in input.stack.labels
