# An example that needs no provider and no network: terraform_data is built in.
terraform {
  required_version = ">= 1.4"
}

variable "registry_password" {
  type      = string
  sensitive = true
}

resource "terraform_data" "network" {
  input = {
    cidr  = "10.20.0.0/16"
    zones = ["a", "b", "c"]
  }
}

resource "terraform_data" "registry" {
  input = {
    host     = "registry.example.org"
    password = var.registry_password
  }
}

resource "terraform_data" "cluster" {
  input            = { nodes = 5, network = terraform_data.network.output.cidr }
  triggers_replace = ["1.34"]
}

resource "terraform_data" "monitoring" {
  input = { retention_days = 30 }
}

output "cidr" {
  value = "${terraform_data.network.output.cidr} (3 zones)"
}

output "monitoring" {
  value = "monitoring.example.org"
}
