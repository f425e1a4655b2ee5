package airlock.deletes_need_two_test

import data.airlock.deletes_need_two
import rego.v1

run(actions, by) := {
	"state": "UNCONFIRMED",
	"type": "TRACKED",
	"creator_session": {"login": by},
	"changes": [{"action": action, "entity": {"address": "x.y"}} | some action in actions],
}

reviews(approvals, rejections) := {"current": {
	"approvals": [{"author": name} | some name in approvals],
	"rejections": [{"author": name} | some name in rejections],
}}

test_without_deletions_nobody_is_needed if {
	deletes_need_two.approve with input as {"run": run(["added"], "ann"), "reviews": reviews([], [])}
}

test_one_is_not_enough if {
	not deletes_need_two.approve with input as {"run": run(["deleted"], "ann"), "reviews": reviews(["bob"], [])}
}

test_two_others_are_enough if {
	deletes_need_two.approve with input as {"run": run(["deleted"], "ann"), "reviews": reviews(["bob", "cid"], [])}
}

test_the_requester_does_not_count if {
	not deletes_need_two.approve with input as {"run": run(["deleted"], "ann"), "reviews": reviews(["ann", "bob"], [])}
}

test_a_destroy_run_deletes if {
	destroy := object.union(run([], "ann"), {"type": "DESTROY"})
	not deletes_need_two.approve with input as {"run": destroy, "reviews": reviews([], [])}
}

test_one_no_is_enough if {
	deletes_need_two.reject with input as {"run": run(["deleted"], "ann"), "reviews": reviews(["bob"], ["cid"])}
}
