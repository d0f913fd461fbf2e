output "role_arn" {
  description = "The role. In a cluster: the service account's annotation eks.amazonaws.com/role-arn."
  value       = aws_iam_role.setpoint.arn
}

output "policy_arn" {
  description = "The policy, for a role of your own."
  value       = aws_iam_policy.setpoint.arn
}

output "instance_profile" {
  description = "The instance profile of the machine that Setpoint runs on; null in a cluster."
  value       = one(aws_iam_instance_profile.setpoint[*].name)
}
