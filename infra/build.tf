# Who builds and deploys. Builds run in staging's project; production only lets staging's build account put a revision without
# traffic beside the running one. A workflow on GitHub starts builds with its own identity: there is no key to steal.

locals {
  builds = var.environment == "staging"

  # What an apply of this configuration needs, service by service: neither owner nor editor.
  build_roles = toset(local.builds ? [
    "roles/artifactregistry.admin", "roles/bigquery.dataOwner", "roles/cloudbuild.builds.builder", "roles/cloudfunctions.admin",
    "roles/cloudscheduler.admin", "roles/cloudsql.admin", "roles/compute.networkAdmin", "roles/compute.securityAdmin",
    "roles/iam.serviceAccountAdmin", "roles/iam.workloadIdentityPoolAdmin", "roles/logging.configWriter", "roles/logging.viewer", "roles/monitoring.editor",
    "roles/pubsub.admin", "roles/run.admin", "roles/secretmanager.admin", "roles/servicenetworking.networksAdmin",
    "roles/serviceusage.serviceUsageAdmin", "roles/storage.admin",
  ] : [])

  # Rights on the whole project that an apply may give and take away; its own are not among them, so it cannot promote itself.
  granted_roles = ["roles/cloudsql.client", "roles/cloudsql.instanceUser", "roles/logging.logWriter", "roles/storage.objectViewer"]
}

resource "google_service_account" "build" {
  count = local.builds ? 1 : 0

  account_id   = "ost-build"
  display_name = "Cloud Build: tests, builds, applies staging, puts revisions into production"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "build" {
  for_each = local.build_roles

  project = var.project_id
  role    = each.key
  member  = google_service_account.build[0].member
}

resource "google_project_iam_member" "build_grants" {
  count = local.builds ? 1 : 0

  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.build[0].member

  condition {
    title      = "only_what_this_configuration_grants"
    expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.granted_roles : "'${role}'"])}])"
  }
}

# Deploying a component means running code as its account: the build account may do that for these accounts alone.
resource "google_service_account_iam_member" "build_acts_as" {
  for_each = local.builds ? local.components : {}

  service_account_id = google_service_account.component[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.build[0].member
}

# Production: a new revision of the bot, the image, the schema of the ledger, and no more: functions and campaigns are for an apply.
resource "google_cloud_run_v2_service_iam_member" "release_builder" {
  count = var.release_builder == null ? 0 : 1

  location = var.region
  name     = google_cloud_run_v2_service.bot.name
  role     = "roles/run.developer"
  member   = var.release_builder
}

resource "google_cloud_run_v2_job_iam_member" "release_builder" {
  count = var.release_builder == null ? 0 : 1

  location = var.region
  name     = google_cloud_run_v2_job.job["migrate"].name
  role     = "roles/run.developer"
  member   = var.release_builder
}

resource "google_service_account_iam_member" "release_builder" {
  for_each = toset(var.release_builder == null ? [] : ["run-bot", "run-migrate"])

  service_account_id = google_service_account.component[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = var.release_builder
}

resource "google_artifact_registry_repository_iam_member" "release_builder" {
  count = var.release_builder == null ? 0 : 1

  location   = var.region
  repository = google_artifact_registry_repository.main.name
  role       = "roles/artifactregistry.writer"
  member     = var.release_builder
}

resource "google_iam_workload_identity_pool" "github" {
  count = local.builds && var.github_repository != null ? 1 : 0

  workload_identity_pool_id = "github"
  display_name              = "GitHub"
  description               = "Workflows of ${var.github_repository}"
  depends_on                = [google_project_service.api]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  count = length(google_iam_workload_identity_pool.github)

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github-actions"
  display_name                       = "GitHub Actions"

  # Without a condition, any repository on GitHub could ask for a token.
  attribute_condition = "assertion.repository == '${var.github_repository}' && assertion.sub == 'repo:${var.github_repository}:ref:${var.github_ref}'"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
    "attribute.ref"        = "assertion.ref"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

# The workflow's account starts builds, which then run as ost-build.
resource "google_service_account" "github" {
  count = length(google_iam_workload_identity_pool.github)

  account_id   = "github-builds"
  display_name = "Starts builds from GitHub"
  depends_on   = [google_project_service.api]
}

resource "google_service_account_iam_member" "github" {
  count = length(google_iam_workload_identity_pool.github)

  service_account_id = google_service_account.github[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.repository/${var.github_repository}"
}

resource "google_project_iam_member" "github" {
  for_each = toset(length(google_service_account.github) > 0 ? ["roles/cloudbuild.builds.editor", "roles/serviceusage.serviceUsageConsumer"] : [])

  project = var.project_id
  role    = each.key
  member  = google_service_account.github[0].member
}

# What is to be built is uploaded first: into a bucket of its own, for the account may not read or make any other.
resource "google_storage_bucket" "uploads" {
  # checkov:skip=CKV_GCP_78:an upload is a commit that the repository has; it is read once
  count = length(google_service_account.github)

  name                        = "${var.project_id}-ost-uploads"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "github_uploads" {
  for_each = toset(length(google_service_account.github) > 0 ? ["roles/storage.objectAdmin", "roles/storage.legacyBucketReader"] : [])

  bucket = google_storage_bucket.uploads[0].name
  role   = each.key
  member = google_service_account.github[0].member
}

resource "google_service_account_iam_member" "github_acts_as_build" {
  count = length(google_service_account.github)

  service_account_id = google_service_account.build[0].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.github[0].member
}
