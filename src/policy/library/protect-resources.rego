package airlock.protect_resources

import rego.v1

# What holds data is neither deleted nor replaced by a plan.
protected := {
	"aws_db_instance",
	"aws_dynamodb_table",
	"aws_efs_file_system",
	"aws_rds_cluster",
	"aws_s3_bucket",
	"azurerm_storage_account",
	"google_sql_database_instance",
	"google_storage_bucket",
}

deny contains msg if {
	some resource in input.terraform.resource_changes
	resource.type in protected
	"delete" in resource.change.actions
	msg := sprintf("%s would be deleted; it holds data", [resource.address])
}
