# The seven functions: private, each with its own service account, none of them called by anybody but Pub/Sub and Cloud Scheduler.
# An archive is named after the hash of its content (make dist), so a function whose code did not change is not deployed again.

locals {
  # One request at a time and instance: a shard of assets keeps a whole vCPU busy. Memory is measured, with a half as reserve.
  # egress all: through the NAT's static address, for those who ask the venue. private: only the ledger is reached through the network.
  function = {
    ingest      = { memory = "512Mi", timeout_s = 300, instances = 5, egress = "all" }
    curate      = { memory = "512Mi", timeout_s = 300, instances = 10, egress = "private" }
    classify    = { memory = "1Gi", timeout_s = 540, instances = 10, egress = "private" }
    signal      = { memory = "1Gi", timeout_s = 300, instances = 1, egress = "private" }
    monitor     = { memory = "512Mi", timeout_s = 540, instances = 1, egress = "private" }
    recalibrate = { memory = "2Gi", timeout_s = 540, instances = 1, egress = "private" }
    maintain    = { memory = "1Gi", timeout_s = 1800, instances = 1, egress = "all" }
  }

  # make dist leaves exactly one archive of each function. Without any, a plan can be read and an apply fails.
  archives = {
    for name in local.functions : name => tolist(fileset("${path.module}/${var.archives}", "${name}-????????????.zip"))
  }
  archive = { for name, found in local.archives : name => length(found) > 0 ? found[0] : "${name}-not-built.zip" }

  # Who calls what: the subscriptions and the schedules say it.
  function_callers = merge(
    { for name, push in local.function_pushes : "${push.function} push-invoker" => { function = push.function, caller = "push-invoker" } },
    {
      for target in toset([for job in local.function_jobs : job.target]) : "${target} scheduler-invoker" => {
        function = target
        caller   = "scheduler-invoker"
      }
    },
  )
}

check "archives" {
  assert {
    condition     = alltrue([for found in local.archives : length(found) > 0])
    error_message = "No archive of ${join(", ", [for name, found in local.archives : name if length(found) == 0])} in ${var.archives}: run `make dist` before you apply."
  }
}

resource "google_storage_bucket_object" "archive" {
  for_each = local.functions

  bucket       = google_storage_bucket.source.name
  name         = "functions/${local.archive[each.key]}"
  source       = "${path.module}/${var.archives}/${local.archive[each.key]}"
  content_type = "application/zip"

  lifecycle {
    precondition {
      condition     = length(local.archives[each.key]) <= 1
      error_message = "Found ${join(", ", local.archives[each.key])} in ${var.archives}; expected one archive of ${each.key}. Run `make dist`, which removes old ones."
    }
  }
}

resource "google_cloudfunctions2_function" "function" {
  for_each = local.function

  name        = each.key
  location    = var.region
  description = local.components["fn-${each.key}"]

  build_config {
    runtime         = "python311"
    entry_point     = "handle"
    service_account = google_service_account.component["fn-build"].id
    # The repository of Artifact Registry in which the built images are kept.
    docker_repository = google_artifact_registry_repository.functions.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.archive[each.key].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.component["fn-${each.key}"].email
    ingress_settings                 = "ALLOW_INTERNAL_ONLY" # Pub/Sub and Cloud Scheduler of this project count as internal
    available_cpu                    = "1"
    available_memory                 = each.value.memory
    timeout_seconds                  = each.value.timeout_s
    min_instance_count               = 0
    max_instance_count               = each.value.instances
    max_instance_request_concurrency = 1
    environment_variables            = merge(local.settings, local.venue_settings, local.ledger_settings["fn-${each.key}"])
    direct_vpc_egress                = each.value.egress == "all" ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY"

    direct_vpc_network_interface {
      network    = google_compute_network.main.id
      subnetwork = google_compute_subnetwork.main.id
    }
  }

  depends_on = [
    google_project_iam_member.function_build_logs, google_project_iam_member.function_build_sources,
    google_storage_bucket_iam_member.source_reader,
    google_artifact_registry_repository_iam_member.function_build, google_compute_router_nat.main,
    # First the job: while it is ahead of `recalibrate`, what that plans waits for the next hour; behind it, it would fail for good.
    google_cloud_run_v2_job.job,
  ]
}

# A function of the second generation is a Cloud Run service: the right to call it is the right to call that.
resource "google_cloud_run_v2_service_iam_member" "function_caller" {
  for_each = local.function_callers

  location = var.region
  name     = google_cloudfunctions2_function.function[each.value.function].name
  role     = "roles/run.invoker"
  member   = local.account[each.value.caller]
}
