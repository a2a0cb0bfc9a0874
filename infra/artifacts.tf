# Images: ours, and those that are built from the functions' archives.

locals {
  registry = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.main.repository_id}"
}

resource "google_artifact_registry_repository" "main" {
  repository_id = "ost"
  location      = var.region
  format        = "DOCKER"
  description   = "Image of bot, exchange and jobs"

  # Old images are paid for each month; those that a release could go back to are kept.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_artifact_registry_repository" "functions" {
  repository_id = "ost-functions"
  location      = var.region
  format        = "DOCKER"
  description   = "Images that are built from the functions"
  depends_on    = [google_project_service.api]
}

resource "google_artifact_registry_repository_iam_member" "function_build" {
  location   = var.region
  repository = google_artifact_registry_repository.functions.name
  role       = "roles/artifactregistry.writer"
  member     = local.account["fn-build"]
}
