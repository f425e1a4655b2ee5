package airlock.data_is_kept

import rego.v1

# Replacing or deleting what holds data is allowed, but never without somebody who looked at it.
warn contains msg if {
	some resource in input.terraform.resource_changes
	resource.type in {"bucket", "database"}
	"delete" in resource.change.actions
	msg := sprintf("%s holds data, and what is there now will be gone", [resource.address])
}
