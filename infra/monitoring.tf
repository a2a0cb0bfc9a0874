# Who is told of what. The components write one JSON object a line; `event` names what happened, and the metrics below count it.
# Nothing is worse than a silence that nobody notices: the absence of heartbeats and of ingested candles is told as well.

locals {
  run = "resource.type=\"cloud_run_revision\""

  # One line a day or an hour, and nothing is right until somebody has looked.
  problem_events = ["ledger.problem", "secret.refused", "maintenance.failed", "monitor.failed", "classification.failed", "signal.failed"]

  # Metric -> which log lines it counts.
  log_metrics = {
    errors             = "(${local.run} OR resource.type=\"cloud_run_job\") AND severity>=ERROR"
    heartbeats         = "${local.run} AND resource.labels.service_name=\"bot\" AND jsonPayload.event=\"heartbeat\""
    ingestions         = "${local.run} AND resource.labels.service_name=\"ingest\" AND jsonPayload.event=\"candles.ingested\""
    ingestion_failures = "${local.run} AND resource.labels.service_name=(\"ingest\" OR \"curate\") AND jsonPayload.event=\"ingestion.failed\" AND severity>=ERROR"
    gaps               = "${local.run} AND resource.labels.service_name=\"monitor\" AND jsonPayload.event=\"data.gap\" AND jsonPayload.gap_hours>${var.alerts.gap_hours}"
    drawdowns          = "${local.run} AND resource.labels.service_name=\"bot\" AND jsonPayload.event=\"drawdown.threshold\""
    halts              = "${local.run} AND resource.labels.service_name=\"bot\" AND jsonPayload.event=\"error\""
    stress             = "${local.run} AND resource.labels.service_name=\"monitor\" AND jsonPayload.event=\"regime.stress\""
    problems           = "(${local.run} OR resource.type=\"cloud_run_job\") AND severity>=ERROR AND jsonPayload.event=(${join(" OR ", [for event in local.problem_events : "\"${event}\""])})"
    schedule_failures  = "resource.type=\"cloud_scheduler_job\" AND severity>=ERROR"
  }
  counted = { for name in keys(local.log_metrics) : name => "metric.type=\"logging.googleapis.com/user/ost/${name}\"" }

  held = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.labels.subscription_id"
  sql  = "resource.type=\"cloudsql_database\" AND metric.type=\"cloudsql.googleapis.com/database"

  # More than `above` in `window_s`. `by` keeps one series per value of that label.
  threshold_alerts = {
    errors = {
      severity = "ERROR", filter = "${local.counted.errors} AND ${local.run}", above = var.alerts.errors_per_minute, window_s = 60
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = ["resource.label.service_name"], for_s = 0
      what     = "More than ${var.alerts.errors_per_minute} errors a minute in one service. Look into its log; `ost events dead-letters` shows what failed for good."
    }
    latency = {
      severity = "WARNING", filter = "${local.run} AND metric.type=\"run.googleapis.com/request_latencies\"", above = var.alerts.request_p95_s * 1000, window_s = 300
      align    = "ALIGN_PERCENTILE_95", reduce = "REDUCE_MAX", by = ["resource.label.service_name"], for_s = 300
      what     = "The slowest 5 % of the requests of one service take longer than ${var.alerts.request_p95_s} s. Is the venue slow, or the ledger?"
    }
    ingestion_failures = {
      severity = "ERROR", filter = "${local.counted.ingestion_failures} AND ${local.run}", above = var.alerts.failed_ingestions, window_s = 900
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = ["resource.label.service_name"], for_s = 0
      what     = "Candles could not be fetched or curated. The log line names asset and reason; the raw file of a failed curation is intact."
    }
    problems = {
      severity = "ERROR", filter = "${local.counted.problems} AND ${local.run}", above = 0, window_s = 300
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = ["resource.label.service_name"], for_s = 0
      what     = "A broken invariant of the ledger, a refused key, or a part of a look or of maintenance that fails for good. The log line says which; `ost db check` looks again."
    }
    gaps = {
      severity = "ERROR", filter = "${local.counted.gaps} AND ${local.run}", above = 0, window_s = 3600
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = [], for_s = 0
      what     = "A series lacks more than ${var.alerts.gap_hours} h of candles. `ost check-gaps` shows which, `ost backfill` fetches them."
    }
    drawdown = {
      severity = "CRITICAL", filter = "${local.counted.drawdowns} AND ${local.run}", above = 0, window_s = 60
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = [], for_s = 0
      what     = "A book crossed a drawdown threshold: trading is paused, or latched until `ost resume`. `ost status` says which."
    }
    halts = {
      severity = "CRITICAL", filter = "${local.counted.halts} AND ${local.run}", above = 0, window_s = 60
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = [], for_s = 0
      what     = "A book was halted for something else than its drawdown (emergency, a person, what nothing explains), or its trader failed. The log line says why; `ost status` what is held, `ost resume` ends it."
    }
    stress = {
      severity = "WARNING", filter = "${local.counted.stress} AND ${local.run}", above = 0, window_s = 3600
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = [], for_s = 0
      what     = "An asset has been in the stress regime for longer than usual. Positions are smaller; nothing has to be done."
    }
    dead_letters = {
      severity = "ERROR", filter = "${local.held}=\"dead-letters-hold\"", above = 0, window_s = 60
      align    = "ALIGN_MAX", reduce = "REDUCE_MAX", by = [], for_s = 0
      what     = "A message failed five times. `ost events dead-letters` shows it and why; after the fix `ost events replay` brings it back. It is kept for 31 days."
    }
    late_events = {
      severity = "WARNING", filter = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.labels.subscription_id!=monitoring.regex.full_match(\".*-hold\")"
      above    = var.alerts.event_age_s, window_s = 60, align = "ALIGN_MAX", reduce = "REDUCE_MAX", by = ["resource.label.subscription_id"], for_s = 0
      what     = "An event has waited longer than ${var.alerts.event_age_s} s for its consumer: it fails again and again, or is too slow."
    }
    schedule_failures = {
      severity = "ERROR", filter = "${local.counted.schedule_failures} AND resource.type=\"cloud_scheduler_job\"", above = 3, window_s = 900
      align    = "ALIGN_SUM", reduce = "REDUCE_SUM", by = ["resource.label.job_id"], for_s = 0
      what     = "A schedule could not start its function or the bot, retries included."
    }
    failed_jobs = {
      severity = "WARNING", filter = "resource.type=\"cloud_run_job\" AND metric.type=\"run.googleapis.com/job/completed_execution_count\" AND metric.labels.result=\"failed\"", above = 0, window_s = 300
      align    = "ALIGN_DELTA", reduce = "REDUCE_SUM", by = ["resource.label.job_name"], for_s = 0
      what     = "A campaign or a migration failed. A campaign started again goes on where it stopped."
    }
    ledger_disk = {
      severity = "ERROR", filter = "${local.sql}/disk/utilization\"", above = var.alerts.ledger_disk_share, window_s = 300
      align    = "ALIGN_MEAN", reduce = "REDUCE_MAX", by = [], for_s = 300
      what     = "The ledger's disk fills faster than it grows. A ledger that cannot write stops all trading."
    }
    ledger_cpu = {
      severity = "WARNING", filter = "${local.sql}/cpu/utilization\"", above = var.alerts.ledger_cpu_share, window_s = 300
      align    = "ALIGN_MEAN", reduce = "REDUCE_MAX", by = [], for_s = 900
      what     = "The ledger is busy without pause: orders will wait for it. Choose a larger ledger_tier."
    }
    ledger_connections = {
      severity = "WARNING", filter = "${local.sql}/postgresql/num_backends\"", above = var.alerts.connection_share * var.ledger_max_connections, window_s = 60
      align    = "ALIGN_MAX", reduce = "REDUCE_SUM", by = [], for_s = 120
      what     = "The ledger is about to run out of connections (ledger_max_connections ${var.ledger_max_connections})."
    }
    secret_rotation = {
      severity = "WARNING", filter = "${local.held}=\"secret-rotation-hold\"", above = 0, window_s = 300
      align    = "ALIGN_MAX", reduce = "REDUCE_MAX", by = [], for_s = 0
      what     = "A secret is ${var.secret_rotation_days} days old. Make a new key at the exchange, add it as a new version, and acknowledge: gcloud pubsub subscriptions pull secret-rotation-hold --auto-ack."
    }
  }

  ingestion_absent_s = coalesce(var.alerts.ingestion_absent_s, 3 * local.shortest_s)

  # Nothing at all for `silent_s`.
  absence_alerts = {
    heartbeat = {
      severity = "CRITICAL", filter = "${local.counted.heartbeats} AND ${local.run}", silent_s = var.alerts.heartbeat_absent_s
      what     = "The bot has not been heard for ${var.alerts.heartbeat_absent_s} s. Stops rest at the venue, but nobody looks after the book. Look at the log of the service bot."
    }
    ingestion = {
      severity = "ERROR", filter = "${local.counted.ingestions} AND ${local.run}", silent_s = local.ingestion_absent_s
      what     = "No candle has arrived for ${local.ingestion_absent_s} s. Are the schedules paused, the venue down, or the address refused?"
    }
  }
}

resource "google_logging_metric" "event" {
  for_each = local.log_metrics

  name        = "ost/${each.key}"
  description = "Log lines: ${replace(each.key, "_", " ")}"
  filter      = each.value

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }

  depends_on = [google_project_service.api]
}

# A new metric is known to the alerts only after some seconds; without the pause a first apply fails with "cannot find metric".
resource "time_sleep" "metrics_are_known" {
  create_duration = "60s"
  triggers        = { metrics = join(",", [for metric in google_logging_metric.event : metric.name]) }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  type         = "email"
  display_name = "one-smart-trade ${var.environment}: ${each.key}"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.threshold_alerts

  display_name          = "ost ${var.environment}: ${replace(each.key, "_", " ")}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = replace(each.key, "_", " ")

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "${each.value.for_s}s"

      aggregations {
        alignment_period     = "${each.value.window_s}s"
        per_series_aligner   = each.value.align
        cross_series_reducer = each.value.reduce
        group_by_fields      = each.value.by
      }
    }
  }

  documentation {
    content   = each.value.what
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }

  depends_on = [time_sleep.metrics_are_known]
}

resource "google_monitoring_alert_policy" "absence" {
  for_each = local.absence_alerts

  display_name          = "ost ${var.environment}: no ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = "no ${each.key} for ${each.value.silent_s} s"

    condition_absent {
      filter   = each.value.filter
      duration = "${each.value.silent_s}s"

      # All instances and revisions together: one that was replaced is no silence.
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = each.value.what
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }

  depends_on = [time_sleep.metrics_are_known]
}
