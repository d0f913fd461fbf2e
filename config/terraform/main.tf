# What Setpoint needs in an AWS account: a role that may read Auto Scaling and set the desired capacity of tagged groups.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  # Version 6 of the provider calls it `region`; `id` is the same in all.
  region = data.aws_region.current.id
}

# The same statements as `setpoint iam-policy --tag` prints.
data "aws_iam_policy_document" "setpoint" {
  # AWS can't limit these to some groups.
  statement {
    sid = "Read"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeInstanceRefreshes",
      "autoscaling:DescribePolicies",
      "autoscaling:DescribeScalingActivities",
      "autoscaling:DescribeScheduledActions",
    ]
    resources = ["*"]
  }

  # MinSize and MaxSize stay out of reach, so they bound whatever Setpoint does.
  statement {
    sid       = "Scale"
    actions   = ["autoscaling:SetDesiredCapacity"]
    resources = ["arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/*"]

    condition {
      test     = "StringEquals"
      variable = "autoscaling:ResourceTag/${var.tag.key}"
      values   = [var.tag.value]
    }
  }
}

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = var.oidc == null ? [1] : []

    content {
      actions = ["sts:AssumeRole"]

      principals {
        type        = "Service"
        identifiers = ["ec2.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.oidc == null ? [] : [var.oidc]

    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [statement.value.provider_arn]
      }

      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:sub"
        values   = ["system:serviceaccount:${statement.value.namespace}:${statement.value.service_account}"]
      }

      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "setpoint" {
  name                 = var.name
  description          = "Setpoint: sets the desired capacity of Auto Scaling groups that bear its tag."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_policy" "setpoint" {
  name   = var.name
  policy = data.aws_iam_policy_document.setpoint.json
  tags   = var.tags
}

resource "aws_iam_role_policy_attachment" "setpoint" {
  role       = aws_iam_role.setpoint.name
  policy_arn = aws_iam_policy.setpoint.arn
}

resource "aws_iam_instance_profile" "setpoint" {
  count = var.oidc == null ? 1 : 0

  name = var.name
  role = aws_iam_role.setpoint.name
  tags = var.tags
}

# Instances don't get it: the tag speaks of the group.
resource "aws_autoscaling_group_tag" "managed" {
  for_each = var.groups

  autoscaling_group_name = each.value

  tag {
    key                 = var.tag.key
    value               = var.tag.value
    propagate_at_launch = false
  }
}
