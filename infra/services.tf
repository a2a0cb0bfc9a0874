# The Google APIs that this project uses, and the service agents that act in it.

locals {
  apis = toset([
    "artifactregistry", "bigquery", "billingbudgets", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler",
    "compute", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "secretmanager", "servicenetworking",
    "serviceusage", "sqladmin", "storage", "sts",
  ])
}

resource "google_project_service" "api" {
  for_each = local.apis

  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # other things in the project may use it
}

data "google_project" "this" {
  project_id = var.project_id
}

# Exists only after the first use of its API unless it is asked for; it must exist before it is given rights.
resource "google_project_service_identity" "agent" {
  provider = google-beta
  for_each = toset(["pubsub", "secretmanager"])

  service    = "${each.key}.googleapis.com"
  depends_on = [google_project_service.api]
}
