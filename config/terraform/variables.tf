variable "package_urls" {
  description = "Where the Debian packages lie, by name: secbeat-node, secbeat-orchestrator, secbeat. Each with its SHA-256."
  type = map(object({
    url    = string
    sha256 = string
  }))

  validation {
    condition     = alltrue([for name in ["secbeat-node", "secbeat-orchestrator", "secbeat"] : contains(keys(var.package_urls), name)])
    error_message = "package_urls must name secbeat-node, secbeat-orchestrator and secbeat."
  }
}

variable "orchestrator_name" {
  description = "Name under which nodes reach the orchestrator; its certificate carries it."
  type        = string
}

variable "nodes" {
  description = "The nodes by host name: the protected server, and the ports of the machine that stay open to blocked sources."
  type = map(object({
    listen           = optional(string, "0.0.0.0:443")
    backend          = string
    management_ports = optional(list(number), [22])
    hugepages        = optional(number, 512)
  }))

  validation {
    condition     = alltrue([for node in var.nodes : contains(node.management_ports, 22)])
    error_message = "management_ports must hold 22: a ban of your own address must not lock you out."
  }
}

variable "syn_cookie_secret" {
  description = "openssl rand -hex 32; the same on every node that shares an address."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.syn_cookie_secret) == 64
    error_message = "syn_cookie_secret must be 32 bytes as 64 hexadecimal digits."
  }
}

variable "api_token" {
  description = "openssl rand -hex 32; for metrics and management API of the nodes."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.api_token) >= 16
    error_message = "api_token must have at least 16 characters."
  }
}

variable "authority" {
  description = "Certificate of the fleet's authority, PEM, as `secbeat-orchestrator ca init` prints it. Empty at the first step, when there is only the orchestrator."
  type        = string
  default     = ""
}

variable "join_tokens" {
  description = "A token of the scope join for each node by host name: `secbeat token create NAME --scope join --for 1h`."
  type        = map(string)
  default     = {}
  sensitive   = true
}
