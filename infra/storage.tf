# The lake, and the archives of the functions.
# Every bar rewrites the file of its series, so what is overwritten must go soon: with soft delete for a week, 1,000 assets would
# cost more in deleted files than everything else together (docs/cost.md).

locals {
  lake_writers = toset(["fn-ingest", "fn-curate", "fn-classify", "fn-signal", "fn-monitor", "fn-recalibrate", "fn-maintain", "run-bot", "run-campaign"])
  lake_readers = toset(local.paper ? ["run-exchange"] : [])
}

resource "google_storage_bucket" "lake" {
  name                        = "${var.project_id}-ost-lake"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 0 # versions do its work; both would be paid twice
  }

  lifecycle_rule {
    condition {
      matches_prefix             = ["curated/"]
      days_since_noncurrent_time = 1
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "lake_writer" {
  for_each = local.lake_writers

  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = local.account[each.key]
}

resource "google_storage_bucket_iam_member" "lake_reader" {
  for_each = local.lake_readers

  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectViewer"
  member = local.account[each.key]
}

# The paper exchange reads the whole bucket, and writes its account.
resource "google_storage_bucket_iam_member" "paper_account" {
  for_each = local.lake_readers

  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = local.account[each.key]

  condition {
    title      = "paper_accounts_only"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.lake.name}/objects/exchange/\")"
  }
}

resource "google_storage_bucket" "source" {
  name                        = "${var.project_id}-ost-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # archives are made again from the repository

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "source_reader" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = local.account["fn-build"]
}
