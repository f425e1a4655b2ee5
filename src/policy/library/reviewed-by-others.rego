package airlock.reviewed_by_others

import rego.v1

# N of M: so many of these people must approve. An empty set means: whoever may review.
needed := 1

reviewers := set()

approvers contains review.author if {
	some review in input.reviews.current.approvals
	counts(review.author)
}

# Neither whoever asked for the run nor whoever wrote or made the commit reviews their own work. A
# commit says of itself who that is; a signed history is what makes it true.
counts(name) if {
	not name in own
	may_review(name)
}

own contains input.run.creator_session.login

own contains input.run.commit.author

own contains input.run.commit.committer

may_review(_) if count(reviewers) == 0

may_review(name) if name in reviewers

# What is reviewed is the plan: until there is one, nobody is waited for.
approve if input.run.state == "QUEUED"

approve if count(approvers) >= needed

reject if {
	some review in input.reviews.current.rejections
	may_review(review.author)
}
