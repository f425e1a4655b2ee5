package airlock.no_state_surgery

import rego.v1

# Words that change or remove what is already there. What looks only is left alone.
forbidden := {
	`\bstate\s+(rm|mv|push|replace-provider)\b`,
	`\b(destroy|taint|untaint|force-unlock)\b`,
	`(^|[;&|]|\s)rm\s`,
}

deny contains msg if {
	some pattern in forbidden
	regex.match(pattern, input.request.command)
	not input.session.admin
	msg := sprintf("`%s` changes state by hand; ask an admin, or change it in the source", [input.request.command])
}
