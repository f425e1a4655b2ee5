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
    zones = ["a", "b"]
  }
}

resource "terraform_data" "registry" {
  input = {
    host     = "registry.example.org"
    password = var.registry_password
  }
}

resource "terraform_data" "cluster" {
  input            = { nodes = 3, network = terraform_data.network.output.cidr }
  triggers_replace = ["1.33"]
}

resource "terraform_data" "bastion" {
  input = { size = "small" }
}

output "cidr" {
  value = terraform_data.network.output.cidr
}

output "bastion" {
  value = "bastion.example.org"
}
