package airlock.working_hours

import rego.v1

# Outside these hours (UTC) a plan waits for somebody, even where it would be applied by itself.
days := {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday"}

first_hour := 8

last_hour := 17

now := input.spacelift.request.timestamp_ns

working if {
	time.weekday(now) in days
	[hour, _, _] := time.clock(now)
	hour >= first_hour
	hour <= last_hour
}

warn contains msg if {
	not working
	msg := sprintf("planned outside working hours (%s): somebody has to confirm it", [time.weekday(now)])
}
