# One service account per component, and nothing for any of them that is not in a table of this configuration.
# Rights on one thing (a topic, a bucket, a secret, a job) are in the file of that thing; here is what only a project can grant.

locals {
  components = merge(
    { for name in local.functions : "fn-${name}" => "Function ${name}" },
    {
      fn-build          = "Builds the functions from their archives"
      run-bot           = "The bot: trader and API"
      run-campaign      = "Instances of a campaign"
      run-exchange      = "The paper exchange"
      run-migrate       = "Brings the ledger to the schema of the program"
      push-invoker      = "Calls functions and bot for Pub/Sub"
      scheduler-invoker = "Calls functions and bot for Cloud Scheduler"
    },
  )

  account = { for name, account in google_service_account.component : name => "serviceAccount:${account.email}" }
}

resource "google_service_account" "component" {
  for_each = local.components

  account_id   = each.key
  display_name = each.value
  depends_on   = [google_project_service.api]
}

# Building a function reads its archive, writes an image and a log; see also storage.tf and artifacts.tf.
resource "google_project_iam_member" "function_build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = local.account["fn-build"]
}

# Cloud Functions copies every archive into a bucket of its own, which exists only after the first function.
resource "google_project_iam_member" "function_build_sources" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = local.account["fn-build"]

  condition {
    title      = "copies_of_the_archives_only"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}\")"
  }
}

# Google's own agent of Pub/Sub makes the tokens with which it calls us.
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.component["push-invoker"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_project_service_identity.agent["pubsub"].member
}
