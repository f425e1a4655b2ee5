package airlock.protect_resources_test

import data.airlock.protect_resources
import rego.v1

planned(type, actions) := {"terraform": {"resource_changes": [{
	"address": sprintf("%s.x", [type]),
	"type": type,
	"change": {"actions": actions, "before": null, "after": null},
}]}}

test_making_one_is_fine if count(protect_resources.deny) == 0 with input as planned("aws_s3_bucket", ["create"])

test_deleting_one_is_not if count(protect_resources.deny) == 1 with input as planned("aws_s3_bucket", ["delete"])

test_replacing_one_is_not if {
	count(protect_resources.deny) == 1 with input as planned("aws_db_instance", ["delete", "create"])
}

test_others_may_go if count(protect_resources.deny) == 0 with input as planned("null_resource", ["delete"])
