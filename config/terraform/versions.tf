terraform {
  # Works with OpenTofu 1.6 as well. No provider is needed: what is made is text, for any cloud or bare-metal service
  # that hands user data to cloud-init.
  required_version = ">= 1.6"
}
