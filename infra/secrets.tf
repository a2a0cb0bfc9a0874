# The secrets, without their values: a person adds versions (docs/deploy.md), so that no value is ever in the state.
# Secret Manager says when one is due for rotation; it never changes a key at the exchange by itself.

locals {
  # Secret -> components that read it. The keys of the exchange account are for the one who trades and the one who tests new keys.
  secrets = {
    binance-api-key    = ["run-bot", "fn-maintain"]
    binance-api-secret = ["run-bot", "fn-maintain"]
    jwt-key            = ["run-bot"]
  }

  secret_readers = merge([
    for secret, names in local.secrets : { for name in names : "${secret} ${name}" => { secret = secret, name = name } }
  ]...)

  rotation_s = var.secret_rotation_days * 86400
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  secret_id           = each.key
  deletion_protection = var.deletion_protection
  version_destroy_ttl = "604800s" # a destroyed version can be brought back for a week

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  rotation {
    rotation_period    = "${local.rotation_s}s"
    next_rotation_time = timeadd(plantimestamp(), "${local.rotation_s}s")
  }

  topics {
    name = google_pubsub_topic.secret_rotation.id
  }

  lifecycle {
    ignore_changes = [rotation[0].next_rotation_time] # set at the creation, moved on by Secret Manager afterwards
  }

  depends_on = [google_pubsub_topic_iam_member.secret_rotation]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.secret_readers

  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.account[each.value.name]
}

# Who reads a secret sees which versions there are, to notice a newer one. `maintain` sees the age of all of them.
resource "google_secret_manager_secret_iam_member" "viewer" {
  for_each = merge(
    local.secret_readers,
    { for secret in keys(local.secrets) : "${secret} fn-maintain" => { secret = secret, name = "fn-maintain" } },
  )

  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.viewer"
  member    = local.account[each.value.name]
}

# `maintain` alone disables the old version once the new one has proved itself.
resource "google_secret_manager_secret_iam_member" "rotator" {
  for_each = local.secrets

  secret_id = google_secret_manager_secret.secret[each.key].id
  role      = "roles/secretmanager.secretVersionManager"
  member    = local.account["fn-maintain"]
}

resource "google_pubsub_topic" "secret_rotation" {
  name = "secret-rotation"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "secret_rotation" {
  topic  = google_pubsub_topic.secret_rotation.id
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.agent["secretmanager"].member
}

# A person acknowledges the notice after having rotated; until then an alert is open (monitoring.tf).
resource "google_pubsub_subscription" "secret_rotation_hold" {
  name                       = "secret-rotation-hold"
  topic                      = google_pubsub_topic.secret_rotation.id
  filter                     = "attributes.eventType = \"SECRET_ROTATE\""
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s"

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = ""
  }
}
