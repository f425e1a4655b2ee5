package airlock.deletes_need_two

import rego.v1

# How many people must agree before something is deleted. Whoever asked for the run does not count.
needed := 2

deletes if {
	some change in input.run.changes
	change.action == "deleted"
}

deletes if input.run.type == "DESTROY"

approvers contains review.author if {
	some review in input.reviews.current.approvals
	review.author != requester
}

default requester := ""

requester := input.run.creator_session.login

# Before there is a plan there is nothing to look at.
approve if input.run.state == "QUEUED"

approve if not deletes

approve if count(approvers) >= needed

reject if count(input.reviews.current.rejections) > 0
