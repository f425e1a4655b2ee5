package airlock.no_state_surgery_test

import data.airlock.no_state_surgery
import rego.v1

denied(command, admin) if {
	count(no_state_surgery.deny) > 0 with input as {"request": {"command": command}, "session": {"admin": admin}}
}

test_looking_is_allowed if {
	not denied("terraform state list", false)
	not denied("terraform plan -no-color", false)
	not denied("ls -l confirm.txt", false)
}

test_removing_is_denied if {
	denied("terraform state rm aws_instance.web", false)
	denied("cd infra && rm -rf .", false)
	denied("terraform destroy -auto-approve", false)
}

test_admins_may if not denied("terraform state rm aws_instance.web", true)
