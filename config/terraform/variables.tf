variable "name" {
  description = "Name of the role, of its policy and of the instance profile."
  type        = string
  default     = "setpoint"
}

variable "groups" {
  description = "Names of the Auto Scaling groups that Setpoint may set. They get the tag below."
  type        = set(string)
}

variable "tag" {
  description = "The tag that makes a group one of Setpoint's. Whoever may tag a group can enrol it."
  type = object({
    key   = string
    value = string
  })
  default = {
    key   = "managed-by"
    value = "setpoint"
  }
}

variable "oidc" {
  description = <<-EOT
    The service account that takes the role, where Setpoint runs in a cluster with an OIDC provider (such as IRSA on EKS).
    Left out: EC2 instances take it, by the instance profile.
  EOT
  type = object({
    provider_arn    = string
    issuer          = string # without https://
    namespace       = string
    service_account = string
  })
  default = null
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of the role, where the account asks for one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role, of its policy and of the instance profile."
  type        = map(string)
  default     = {}
}
