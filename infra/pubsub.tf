# Topics, who may publish to them, and to whom they push.
# Delivery is at least once: every consumer knows what it has done. After five attempts a message is a dead letter, which is kept
# for 31 days, alerts a person, and comes back with `ost events replay`.

locals {
  max_delivery_attempts = 5
  week                  = "604800s"

  # Topic -> components that publish to it.
  publishers = {
    candles-requested       = ["fn-ingest"]
    candles-ingested        = ["fn-ingest"]
    candles-curated         = ["fn-curate"]
    regimes-classified      = ["fn-classify"]
    recalibration-triggered = ["fn-monitor"]
    book-events             = ["run-bot"]
  }

  function_pushes = {
    candles-requested-ingest            = { topic = "candles-requested", function = "ingest" }
    candles-ingested-curate             = { topic = "candles-ingested", function = "curate" }
    candles-curated-classify            = { topic = "candles-curated", function = "classify" }
    recalibration-triggered-recalibrate = { topic = "recalibration-triggered", function = "recalibrate" }
  }

  # Subscription -> topic, where it pushes, for whom the token is, the longest answer, and the shortest wait after a refusal.
  pushes = merge(
    {
      for name, push in local.function_pushes : name => {
        topic      = push.topic
        endpoint   = google_cloudfunctions2_function.function[push.function].service_config[0].uri
        audience   = google_cloudfunctions2_function.function[push.function].service_config[0].uri
        deadline_s = local.function[push.function].timeout_s
        backoff_s  = 10
      }
    },
    var.profile == "schedule" ? {
      regimes-classified-bot = {
        topic      = "regimes-classified"
        endpoint   = "${google_cloud_run_v2_service.bot.uri}/step"
        audience   = google_cloud_run_v2_service.bot.uri
        deadline_s = local.bot_timeout_s
        # While the book is traded for something else an event is told to come again: all its attempts outlast the longest step.
        backoff_s = ceil(local.bot_timeout_s / (local.max_delivery_attempts - 1))
      }
    } : {},
  )
}

resource "google_pubsub_topic" "events" {
  for_each = local.publishers

  name                       = each.key
  message_retention_duration = "86400s" # a day can be delivered again after a mistake, without the ledger's help

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic" "dead_letters" {
  name = "dead-letters"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = merge([
    for topic, names in local.publishers : { for name in names : "${topic} ${name}" => { topic = topic, name = name } }
  ]...)

  topic  = google_pubsub_topic.events[each.value.topic].id
  role   = "roles/pubsub.publisher"
  member = local.account[each.value.name]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.pushes

  name                       = each.key
  topic                      = google_pubsub_topic.events[each.value.topic].id
  ack_deadline_seconds       = min(600, each.value.deadline_s + 10)
  message_retention_duration = local.week

  push_config {
    push_endpoint = each.value.endpoint

    oidc_token {
      service_account_email = google_service_account.component["push-invoker"].email
      audience              = each.value.audience
    }
  }

  retry_policy {
    minimum_backoff = "${each.value.backoff_s}s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = local.max_delivery_attempts
  }

  expiration_policy {
    ttl = "" # never: by default a subscription that is idle for 31 days is deleted
  }

  depends_on = [google_service_account_iam_member.push_tokens]
}

# What the books did, for whoever wants to know. Reading without acknowledging counts as a delivery attempt, so people get many.
resource "google_pubsub_subscription" "book_events_hold" {
  name                       = "book-events-hold"
  topic                      = google_pubsub_topic.events["book-events"].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.week
  enable_message_ordering    = true

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

# The end of the line: the only subscription without a dead-letter topic.
resource "google_pubsub_subscription" "dead_letters_hold" {
  name                       = "dead-letters-hold"
  topic                      = google_pubsub_topic.dead_letters.id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s"

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub moves dead letters in its own name: it publishes them, and acknowledges the original.
resource "google_pubsub_topic_iam_member" "dead_letter_publisher" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.agent["pubsub"].member
}

resource "google_pubsub_subscription_iam_member" "dead_letter_source" {
  for_each = setunion(keys(local.pushes), ["book-events-hold", "secret-rotation-hold"])

  subscription = each.key
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.agent["pubsub"].member
  depends_on = [
    google_pubsub_subscription.push, google_pubsub_subscription.book_events_hold,
    google_pubsub_subscription.secret_rotation_hold,
  ]
}

# `ost events`: people read the holds and publish dead letters to their topic again.
resource "google_pubsub_subscription_iam_member" "operator" {
  for_each = {
    for pair in setproduct(["book-events-hold", "dead-letters-hold", "secret-rotation-hold"], var.operators) : join(" ", pair) => pair
  }

  subscription = each.value[0]
  role         = "roles/pubsub.subscriber"
  member       = each.value[1]
  depends_on = [
    google_pubsub_subscription.book_events_hold, google_pubsub_subscription.dead_letters_hold,
    google_pubsub_subscription.secret_rotation_hold,
  ]
}

resource "google_pubsub_topic_iam_member" "operator" {
  for_each = { for pair in setproduct(keys(local.publishers), var.operators) : join(" ", pair) => pair }

  topic  = google_pubsub_topic.events[each.value[0]].id
  role   = "roles/pubsub.publisher"
  member = each.value[1]
}
