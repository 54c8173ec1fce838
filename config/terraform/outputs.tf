output "orchestrator_user_data" {
  description = "User data of the orchestrator's machine."
  value       = local.orchestrator
}

output "node_user_data" {
  description = "User data of each node by host name. Holds secrets: it ends up in the state, which must be encrypted."
  value       = local.nodes
  sensitive   = true
}
