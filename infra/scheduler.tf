# The schedules of functions/schedules.yaml, which the local scheduler reads as well.
# A job is made when its profile is the chosen one and, where its body names an interval, when that interval is kept (functions)
# or traded (bot).

locals {
  schedules = yamldecode(file("${path.module}/../functions/schedules.yaml"))

  jobs_of_profile = {
    for job in local.schedules : job.name => job
    if contains(job.profiles, var.profile) && (
      !contains(keys(job.body), "interval") ? true :
      startswith(job.target, "bot:") ? job.body.interval == var.interval : contains(var.intervals, job.body.interval)
    )
  }
  function_jobs = { for name, job in local.jobs_of_profile : name => job if !startswith(job.target, "bot:") }
}

resource "google_cloud_scheduler_job" "job" {
  for_each = local.jobs_of_profile

  name             = each.key
  region           = var.region
  description      = each.value.description
  schedule         = each.value.cron
  time_zone        = "Etc/UTC"
  attempt_deadline = "${each.value.deadline_s}s"

  http_target {
    http_method = "POST"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode(each.value.body))
    uri = (
      startswith(each.value.target, "bot:")
      ? "${google_cloud_run_v2_service.bot.uri}${trimprefix(each.value.target, "bot:")}"
      : google_cloudfunctions2_function.function[each.value.target].service_config[0].uri
    )

    oidc_token {
      service_account_email = google_service_account.component["scheduler-invoker"].email
      audience = (
        startswith(each.value.target, "bot:")
        ? google_cloud_run_v2_service.bot.uri
        : google_cloudfunctions2_function.function[each.value.target].service_config[0].uri
      )
    }
  }

  # The slot is the same in every attempt (X-CloudScheduler-ScheduleTime), so an attempt too many changes nothing.
  retry_config {
    retry_count          = 5
    min_backoff_duration = "5s"
    max_backoff_duration = "60s"
    max_retry_duration   = "600s"
    max_doublings        = 3
  }

  depends_on = [google_project_service.api]
}
