package airlock.reviewed_by_others_test

import data.airlock.reviewed_by_others
import rego.v1

by(approvals, rejections) := {
	"run": {"state": "UNCONFIRMED", "creator_session": {"login": "ann"}, "commit": {"author": "cid", "committer": "cora"}},
	"reviews": {"current": {
		"approvals": [{"author": name} | some name in approvals],
		"rejections": [{"author": name} | some name in rejections],
	}},
}

test_nobody_has_looked_yet if not reviewed_by_others.approve with input as by([], [])

test_somebody_else_is_enough if reviewed_by_others.approve with input as by(["bob"], [])

test_the_requester_is_not if not reviewed_by_others.approve with input as by(["ann"], [])

test_the_author_is_not if not reviewed_by_others.approve with input as by(["cid"], [])

test_the_committer_is_not if not reviewed_by_others.approve with input as by(["cora"], [])

test_a_no_is_a_no if reviewed_by_others.reject with input as by(["bob"], ["dan"])

test_a_run_nobody_asked_for_needs_one_too if {
	scheduled := {"state": "UNCONFIRMED", "creator_session": null, "commit": null}
	alone := object.union(by([], []), {"run": scheduled})
	not reviewed_by_others.approve with input as alone
	reviewed := object.union(by(["ann"], []), {"run": scheduled})
	reviewed_by_others.approve with input as reviewed
}
