# One page with what somebody wants to see first: is it alive, does data arrive, is anything stuck, how is the ledger.

locals {
  # Title, filter, how the points of one series are joined, and by which label the series are kept apart. Percentiles of several
  # revisions are not added up: the largest is shown.
  charts = [
    { title = "Heartbeats of the bot a minute", filter = "${local.counted.heartbeats} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Errors a minute", filter = "${local.counted.errors} AND ${local.run}", align = "ALIGN_SUM", by = ["resource.label.service_name"] },
    { title = "Ingested series a minute", filter = "${local.counted.ingestions} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Failed ingestions a minute", filter = "${local.counted.ingestion_failures} AND ${local.run}", align = "ALIGN_SUM", by = ["resource.label.service_name"] },
    { title = "Requests a second", filter = "${local.run} AND metric.type=\"run.googleapis.com/request_count\"", align = "ALIGN_RATE", by = ["resource.label.service_name", "metric.label.response_code_class"] },
    { title = "Requests: slowest 5 %, ms", filter = "${local.run} AND metric.type=\"run.googleapis.com/request_latencies\"", align = "ALIGN_PERCENTILE_95", by = ["resource.label.service_name"] },
    { title = "Age of the oldest event that waits, s", filter = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"", align = "ALIGN_MAX", by = ["resource.label.subscription_id"] },
    { title = "Dead letters", filter = "${local.held}=\"dead-letters-hold\"", align = "ALIGN_MAX", by = [] },
    { title = "Drawdown thresholds", filter = "${local.counted.drawdowns} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Halts and errors of the bot", filter = "${local.counted.halts} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Stress sessions", filter = "${local.counted.stress} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Gaps", filter = "${local.counted.gaps} AND ${local.run}", align = "ALIGN_SUM", by = [] },
    { title = "Problems", filter = "${local.counted.problems} AND ${local.run}", align = "ALIGN_SUM", by = ["resource.label.service_name"] },
    { title = "Failed starts of schedules", filter = "${local.counted.schedule_failures} AND resource.type=\"cloud_scheduler_job\"", align = "ALIGN_SUM", by = ["resource.label.job_id"] },
    { title = "Ledger: CPU", filter = "${local.sql}/cpu/utilization\"", align = "ALIGN_MEAN", by = [] },
    { title = "Ledger: connections", filter = "${local.sql}/postgresql/num_backends\"", align = "ALIGN_MAX", by = [] },
    { title = "Instances", filter = "${local.run} AND metric.type=\"run.googleapis.com/container/instance_count\"", align = "ALIGN_MAX", by = ["resource.label.service_name"] },
    { title = "Billed instance time, s/s", filter = "${local.run} AND metric.type=\"run.googleapis.com/container/billable_instance_time\"", align = "ALIGN_RATE", by = ["resource.label.service_name"] },
  ]
}

resource "google_monitoring_dashboard" "main" {
  dashboard_json = jsonencode({
    displayName = "One Smart Trade ${var.environment}"
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = index % 2 * 6
          yPos   = floor(index / 2) * 4
          width  = 6
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = chart.filter
                    aggregation = {
                      alignmentPeriod    = "60s"
                      perSeriesAligner   = chart.align
                      crossSeriesReducer = chart.align == "ALIGN_PERCENTILE_95" ? "REDUCE_MAX" : "REDUCE_SUM"
                      groupByFields      = chart.by
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })

  depends_on = [time_sleep.metrics_are_known]
}
