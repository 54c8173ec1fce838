# User data for cloud-init: one orchestrator, any number of nodes. In two steps, since nodes need what the orchestrator
# makes when it starts: its authority's certificate and their join tokens. docs/deployment.md shows both.

locals {
  orchestrator = templatefile("${path.module}/templates/orchestrator.yaml.tftpl", {
    name     = var.orchestrator_name
    packages = [var.package_urls["secbeat-orchestrator"], var.package_urls["secbeat"]]
  })

  nodes = {
    for name, node in var.nodes : name => templatefile("${path.module}/templates/node.yaml.tftpl", {
      name              = name
      node              = node
      packages          = [var.package_urls["secbeat-node"]]
      orchestrator_name = var.orchestrator_name
      authority         = var.authority
      join_token        = lookup(var.join_tokens, name, "")
      syn_cookie_secret = var.syn_cookie_secret
      api_token         = var.api_token
    })
  }
}
