# An orchestrator and one node on OpenStack. Other clouds and bare-metal services differ in this file only: whatever
# hands user data to cloud-init will do.

terraform {
  required_version = ">= 1.6"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.0"
    }
  }
}

variable "packages" {
  type = map(object({
    url    = string
    sha256 = string
  }))
}

variable "secrets" {
  type = object({
    syn_cookie_secret = string
    api_token         = string
    join_token        = optional(string, "")
  })
  sensitive = true
}

variable "authority" {
  type    = string
  default = ""
}

variable "network" {
  description = "Name of the network that both machines are in."
  type        = string
}

variable "key_pair" {
  type = string
}

module "secbeat" {
  source = "../.."

  package_urls      = var.packages
  orchestrator_name = "control.internal.example"
  syn_cookie_secret = var.secrets.syn_cookie_secret
  api_token         = var.secrets.api_token
  authority         = var.authority
  join_tokens       = { edge-1 = var.secrets.join_token }

  nodes = {
    edge-1 = {
      backend = "10.0.0.80:443"
    }
  }
}

resource "openstack_compute_instance_v2" "orchestrator" {
  name        = "control"
  image_name  = "debian-12"
  flavor_name = "m1.small"
  key_pair    = var.key_pair
  user_data   = module.secbeat.orchestrator_user_data

  network {
    name = var.network
  }

  # Its disk holds the fleet's authority: another user data must not replace it.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [user_data]
  }
}

# Only once there is an authority: see the two steps in docs/deployment.md.
resource "openstack_compute_instance_v2" "node" {
  for_each = var.authority == "" ? {} : nonsensitive(module.secbeat.node_user_data)

  name        = each.key
  image_name  = "debian-12"
  flavor_name = "m1.large"
  key_pair    = var.key_pair
  user_data   = each.value

  network {
    name = var.network
  }

  depends_on = [openstack_compute_instance_v2.orchestrator]
}
