package airlock.working_hours_test

import data.airlock.working_hours
import rego.v1

at(text) := {"spacelift": {"request": {"timestamp_ns": time.parse_rfc3339_ns(text)}}}

test_a_morning_is_fine if count(working_hours.warn) == 0 with input as at("2026-03-04T09:30:00Z")

test_a_night_warns if count(working_hours.warn) == 1 with input as at("2026-03-04T23:30:00Z")

test_a_sunday_warns if count(working_hours.warn) == 1 with input as at("2026-03-08T10:00:00Z")
